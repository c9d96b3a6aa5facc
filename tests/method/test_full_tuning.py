"""Full fine-tuning reaches every tensor of both encoders."""

from study.backbones.backbone import Backbone
from study.method.full_tuning import FullClassifier


def test_full_fine_tuning_tunes_every_tensor_but_the_logit_scale(backbone: Backbone):
    names = [tuned.name for tuned in FullClassifier(backbone).tuned]
    known = [name for name, _ in backbone.clip.named_parameters()]
    assert sorted([*names, "logit_scale"]) == sorted(known)
    assert names == sorted(names)
