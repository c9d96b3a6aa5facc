"""Each method builds what its class states, and can be read without PyTorch."""

from pathlib import Path

import pytest

from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.config.methods import Clap, FullFineTuning, Lora, Method, Projection, TwoStage
from study.config.trial_settings import TrialSettings
from study.trial.build_model import BuiltModel, build_model


def built(method: Method, backbone: Backbone, seed: int = 1, shots: float = 4) -> BuiltModel:
    return build_model(
        TrialSettings(subset="none", method=method), backbone, seed=seed, shots=shots
    )


@pytest.mark.parametrize(
    "method", [FullFineTuning(lr=0.1), Lora(lr=0.1), Projection(lr=0.1), Clap(), TwoStage()]
)
def test_a_method_states_what_can_be_known_without_weights(
    tiny_backbone: Path, backbone: Backbone, method: Method
):
    model = built(method, backbone)
    tuned = {one.name: one.parameter for one in model.staged.tuned}
    count = sum(parameter.numel() for parameter in tuned.values())
    assert method.count(read_architecture(tiny_backbone)) == count
    of_backbone = dict(backbone.clip.named_parameters()).keys() & tuned.keys()
    assert any(tuned[name].dim() >= 2 for name in of_backbone) == method.tunes_matrices


@pytest.mark.parametrize(
    "shots, given, weight", [(16, None, 1 / 16), (12.5, None, 1 / 12.5), (2, 0.0, 0.0), (2, 3, 3)]
)
def test_the_weight_of_prolip_is_one_in_the_training_images_of_a_class(
    backbone: Backbone, shots: float, given: float | None, weight: float
):
    projection = Projection(lr=0.1, distance_weight=given)
    assert built(projection, backbone, shots=shots).distill_weight == weight
