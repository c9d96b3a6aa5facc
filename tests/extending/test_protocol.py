"""A protocol of one's own: one class, here one that is scored by the new classes alone."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import ray.cloudpickle

from study.errors import ConfigError
from study.protocols import BaseToNew, FewShot
from study.trial.config_hash import code_hash

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker has this file


class OnlyNew(BaseToNew):
    """Learning from the base classes, for new ones."""

    name = "only_new"
    sentence = "Only new: a model is scored by its accuracy on classes that it never saw."
    metric = "accuracy of new classes"

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        return {**parts, "score": parts.get("new", parts["base"])}


@pytest.fixture
def installed(install: Any):
    """Install a package whose entry point is the protocol."""
    install("protocols", f"only_new = {__name__}:OnlyNew")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.usefixtures("ray_cluster", "installed")
def test_a_study_is_judged_by_it(small: Any):
    folder = small({"selection": "base"}, protocol="only_new")
    (clipfit,) = (one for one in folder.read_json("candidates.json") if one["label"] == "clipfit")
    for seed in (1, 2):
        report = folder.trial(f"test-{clipfit['training']}-seed{seed}").read_reports()[-1]
        assert report["test_score"] == report["test_new"] != report["test_base"]
    assert OnlyNew.sentence in (folder.path / "report.html").read_text()
    assert code_hash(OnlyNew) != code_hash(FewShot)


def test_without_it_the_study_does_not_start(small: Any):
    with pytest.raises(
        ConfigError, match="protocol: 'only_new' is unknown; expected one of few_shot"
    ):
        small({}, protocol="only_new")
