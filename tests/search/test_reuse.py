"""An ablation that was run before is not run again: equal trials are found and taken over."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from study.run import main
from study.search.driver import ray_session
from study.search.reuse import finished_trials, reuse_results
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial import TrialConfig
from tests.case_tables import from_table
from tests.not_none import not_none
from tests.written_study import EPOCHS, Written


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_same_ablation_again_trains_nothing_unless_that_is_wished(
    tmp_path: Path, tiny_backbone: Path
):
    small = (
        *(f"storage={tmp_path / 'runs'}", f"backbone.name={tiny_backbone}"),
        *(f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}", "training.epochs=2"),
        *("data.shots=2", "search.selection=holdout", "search.folds=null", "confirm.seeds=[1, 2]"),
        *("ablation.design=grid", "ablation.rates=[0.01, 0.1]"),
        "ablation.subsets={vision: vision.ln, text: text.mlp.fc2.bias}",
    )
    taken = {}
    with ray_session():
        for name in ("first", "again", "afresh"):
            reuse = str(name != "afresh").lower()
            assert main(["ablation", f"name={name}", f"ablation.reuse={reuse}", *small]) == 0
            for trial in StudyFolder(tmp_path / "runs" / name).trials():
                taken[name, trial.trial_id] = trial.read_config()["taken_from"]
    for (name, trial_id), origin in taken.items():
        assert origin == (f"first/{trial_id}" if name == "again" else None)


HASH = "a" * 16


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A study with one finished trial that has a configuration hash."""
    study = Written(tmp_path, "written")
    finish(study, 0)
    return study


def finish(study: Written, number: int, **changes: Any) -> TrialConfig:
    """Write a finished trial with the configuration hash."""
    config = study.trial(number, **{"config_hash": HASH, **changes})
    for epoch in range(1, EPOCHS + 1):
        study.report(config, epoch)
    study.end(config)
    return config


def origin(study: Written) -> str | None:
    """Return the study and id of the trial that has the configuration hash."""
    trial = finished_trials(study.folder.path.parent, {HASH}).get(HASH)
    if trial is None:
        return None
    return f"{trial.path.parents[1].name}/{trial.trial_id}"


@from_table
def test_a_trial_that_is_damaged_or_unfinished_is_passed_over_for_the_next(
    written: Written, tmp_path: Path, name: str, contents: str | None
):
    earlier = Written(tmp_path, "earlier")
    path = earlier.folder.trial(finish(earlier, 7).trial_id).path / name
    assert origin(written) == "earlier/search-0007"
    if contents is None:
        path.unlink()
    else:
        path.write_text(contents)
    assert origin(written) == "written/search-0000"


@from_table
def test_a_trial_that_did_not_run_to_its_end_or_was_taken_over_itself_is_no_origin(
    tmp_path: Path, status: str, taken_from: str | None
):
    study = Written(tmp_path, "mine")
    config = finish(study, 0, taken_from=taken_from)
    study.end(config, status)
    assert origin(study) is None


def test_a_trial_without_a_hash_is_never_taken_over(tmp_path: Path):
    study = Written(tmp_path, "first")
    config = finish(study, 0, config_hash="")
    assert reuse_results(Written(tmp_path, "again").folder, [config]) == set()


@pytest.mark.parametrize("step", ["create", "write", "write_end"])
def test_a_trial_is_taken_over_whole_or_told_and_left_to_be_trained(
    written: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
):
    wanted = [TrialConfig.model_validate(written.folder.trial("search-0000").read_config())]
    folder = Written(tmp_path, "again").folder
    with monkeypatch.context() as broken:
        broken.setattr(TrialFolder, step, Mock(side_effect=OSError("the disk is gone")))
        assert reuse_results(folder, wanted) == set()
        told = "search-0000 equals written/search-0000, but is trained again: the disk is gone"
        assert told in caplog.text
        broken.setattr(TrialFolder, step, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reuse_results(folder, wanted)
    assert list((folder.path / "trials").iterdir()) == []
    assert not list(folder.path.glob(".adding-*"))
    assert reuse_results(folder, wanted) == {"search-0000"}
    (trial,) = folder.trials()
    assert not_none(trial.read_end()).reason == "done before by written/search-0000"
    assert trial.damaged() == []
    own = written.folder.trial("search-0000").path
    for name in ("reports.jsonl", "delta.safetensors"):
        assert trial.read(name) == (own / name).read_bytes()
