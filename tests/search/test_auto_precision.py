"""The precision that ``auto`` stands for is decided once, by a worker, and kept."""

import json
from typing import Any

import pytest

from study.errors import BackboneError, StudyError
from study.search.auto_precision import decide_precision
from study.trial.study import PRECISION


@pytest.mark.usefixtures("ray_cluster")
def test_it_is_decided_once_and_stays(make_study: Any) -> None:
    study = make_study("auto", training={"epochs": 1, "batch_size": 8, "precision": "auto"}).study
    assert study.resolve_precision() is study
    dataset = study.dataset()
    decided = decide_precision(study)
    assert decided.config.training.precision in ("float32", "bfloat16")
    assert decided.dataset() is dataset, "nothing is read again"
    path = study.folder.path / PRECISION
    assert json.loads(path.read_text()) == decided.config.training.precision
    other = {"float32": "bfloat16", "bfloat16": "float32"}[decided.config.training.precision]
    study.folder.write_json(PRECISION, other)
    again = decide_precision(study)
    assert again.config.training.precision == other
    assert again.resolve_precision() is again
    path.write_text("{")
    with pytest.raises(StudyError, match="precision"):
        decide_precision(study)


def test_that_of_the_trials_stays_if_the_file_is_lost(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.remote", lambda **_: pytest.fail("no worker need be asked"))
    auto = {"epochs": 1, "batch_size": 8, "precision": "auto"}
    study = make_study("lost", training=auto).study
    study.folder.write_json(PRECISION, "bfloat16")
    config = {"training": study.resolve_precision().config.training.model_dump(mode="json")}
    study.folder.trial("search-0000").create(config)
    (study.folder.path / PRECISION).unlink()
    assert decide_precision(study).config.training.precision == "bfloat16"
    assert json.loads((study.folder.path / PRECISION).read_text()) == "bfloat16"


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_cannot_train_says_why(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(threads: int) -> None:
        raise BackboneError(f"PyTorch sees no GPU, {threads} thread")

    auto = {"epochs": 1, "batch_size": 8, "precision": "auto"}
    study = make_study("unable", training=auto).study
    monkeypatch.setattr("study.search.auto_precision._fastest_here", unable)
    with pytest.raises(BackboneError, match=r"^PyTorch sees no GPU, 1 thread$"):
        decide_precision(study)
    assert not (study.folder.path / PRECISION).exists()


def test_what_is_given_is_not_asked_for(make_study: Any) -> None:
    given = {"epochs": 1, "batch_size": 8, "precision": "bfloat16"}
    study = make_study("given", training=given).study
    assert decide_precision(study) is study, "without Ray"
    assert not (study.folder.path / PRECISION).exists()
