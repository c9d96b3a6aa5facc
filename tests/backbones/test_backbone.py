"""A checkpoint is known by its weights."""

from collections.abc import Callable

import torch

from study.backbones.backbone import Backbone, fingerprint

MakeBackbone = Callable[..., Backbone]


def test_the_fingerprint_is_that_of_the_weights(make_backbone: MakeBackbone) -> None:
    clip = make_backbone(seed=0).clip
    assert fingerprint(clip) == make_backbone(seed=0).fingerprint
    assert fingerprint(clip) != make_backbone(seed=1).fingerprint
    with torch.no_grad():
        clip.logit_scale += 1e-3
    assert fingerprint(clip) != make_backbone(seed=0).fingerprint
