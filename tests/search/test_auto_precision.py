"""The precision that ``auto`` stands for is decided once, by a worker, and kept."""

from typing import Any

import pytest

from study.errors import StudyError
from study.search.auto_precision import decide_precision
from study.trial.study import PRECISION

AUTO = {"epochs": 1, "batch_size": 8, "precision": "auto"}


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.usefixtures("ray_cluster")
def test_it_is_decided_once_and_stays(make_study: Any):
    study = make_study("auto", training=AUTO).study
    assert study.resolve_precision() is study
    dataset = study.dataset
    decided = decide_precision(study)
    precision = decided.config.training.precision
    assert precision in ("float32", "bfloat16")
    assert decide_precision(decided) is decided, "what is given is not asked for"
    assert decided.dataset is dataset, "nothing is read again"
    assert study.folder.read_json(PRECISION) == precision
    other = {"float32": "bfloat16", "bfloat16": "float32"}[precision]
    study.folder.write_json(PRECISION, other)
    again = decide_precision(study)
    assert again.config.training.precision == other
    assert again.resolve_precision() is again
    (study.folder.path / PRECISION).write_text("{")
    with pytest.raises(StudyError, match="precision"):
        decide_precision(study)


def test_that_of_the_trials_stays_if_the_file_is_lost(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ray.remote", lambda **_: pytest.fail("no worker need be asked"))
    study = make_study("lost", training=AUTO).study
    study.folder.trial("search-0000").create({"training": {**AUTO, "precision": "bfloat16"}})
    assert decide_precision(study).config.training.precision == "bfloat16"
    assert study.folder.read_json(PRECISION) == "bfloat16"
