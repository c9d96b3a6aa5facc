"""A checkpoint is known by its weights."""

import torch

from study.backbones.backbone import Backbone, fingerprint


def test_the_fingerprint_is_that_of_the_weights(backbone: Backbone):
    assert fingerprint(backbone.clip) == backbone.fingerprint
    with torch.no_grad():
        backbone.clip.logit_scale += 1e-3
    assert fingerprint(backbone.clip) != backbone.fingerprint
