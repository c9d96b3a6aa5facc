"""What each tensor could gain is measured once, on images as they are, before any training."""

from dataclasses import replace
from typing import Any

import pytest

from study.method.subsets import parse
from study.results.sensitivity import Sensitivities, read_sensitivities
from study.search.measure_sensitivity import keep_sensitivities
from tests.not_none import not_none

ABLATION = {"design": "only_one", "rates": {"ln": [0.01, 0.04, 0.1], "bias": [0.02]}}


def measure(tiny: Any, backbone: str) -> Sensitivities | None:
    """Measure with a backbone of a name, unless that was done before."""
    named = tiny.config.backbone.model_copy(update={"name": backbone})
    study = tiny.study.with_config(tiny.config.model_copy(update={"backbone": named}))
    keep_sensitivities(replace(tiny.preparer, study=study), tiny.config.ablation)
    return read_sensitivities(tiny.folder)


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
def test_it_is_measured_once_of_all_tensors_and_of_images_that_are_not_augmented(
    make_study: Any, caplog: pytest.LogCaptureFixture
):
    measured = []
    for augment in (False, True):
        data = {"shots": 2, "augment": augment}
        tiny = make_study(f"augment-{augment}", ablation=ABLATION, data=data)
        assert measure(tiny, "nowhere") is None
        assert "what each tensor could gain cannot be measured: " in caplog.text
        measured.append(not_none(measure(tiny, tiny.config.backbone.name)))
        assert measure(tiny, "nowhere") == measured[-1]
    plain, augmented = measured
    leaves = parse("text.ln + text.bias + vision.ln + vision.bias").resolve(plain.depths)
    assert plain.tensors.keys() == {str(leaf) for leaf in leaves}
    assert min(plain.tensors.values()) > 0
    assert augmented == plain
