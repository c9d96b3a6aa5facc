"""An ablation that was run before is not run again: equal trials are found and taken over."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.schema import StudyConfig
from study.run import main
from study.search.driver import ray_session
from study.search.reuse import finished_trials, reuse_results
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import RESULT_FILES, TrialFolder
from study.trial import TrialConfig
from tests.written_study import EPOCHS, Written

GRID = "{vision: vision.ln, text: text.mlp.fc2.bias}"
Run = Callable[..., StudyFolder]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reuse")


@pytest.fixture(scope="module")
def run(place: Path, tiny_backbone: Path) -> Run:
    def run(name: str, *overrides: str) -> StudyFolder:
        small = [
            *(f"name={name}", f"storage={place / 'runs'}", f"backbone.name={tiny_backbone}"),
            *(f"tracking.uri=sqlite:///{place / 'mlflow.db'}", "tracking.experiment=reuse"),
            *("training.epochs=2", "data.shots=2", "search.selection=holdout", "search.folds=null"),
            *("confirm.seeds=[1, 2]", "ablation.design=grid", f"ablation.subsets={GRID}"),
            *("ablation.rates=[0.01, 0.1]",),
        ]
        keys = {override.partition("=")[0] for override in overrides}
        small = [value for value in small if value.partition("=")[0] not in keys]
        assert main(["ablation", *small, *overrides]) == 0
        return StudyFolder(place / "runs" / name)

    return run


@pytest.fixture(scope="module")
def first(run: Run) -> StudyFolder:
    with ray_session(StudyConfig()):
        return run("first")


def trials(folder: StudyFolder) -> dict[str, TrialFolder]:
    return {trial.trial_id: trial for trial in folder.trials()}


def taken(folder: StudyFolder) -> set[str]:
    return {name for name, trial in trials(folder).items() if trial.read_config()["taken_from"]}


@pytest.mark.long
def test_the_same_ablation_again_trains_nothing(first: StudyFolder, run: Run) -> None:
    again = run("again")
    before, after = trials(first), trials(again)
    assert not taken(first)
    assert taken(again) == before.keys() == after.keys()
    for name, trial in after.items():
        assert trial.read_config()["taken_from"] == f"first/{name}"
        assert trial.damaged() == []
        for pattern in RESULT_FILES:
            written = {path.name: path.read_bytes() for path in trial.path.glob(pattern)}
            assert written == {p.name: p.read_bytes() for p in before[name].path.glob(pattern)}


@pytest.mark.long
def test_nothing_is_taken_over_where_that_is_not_wished(first: StudyFolder, run: Run) -> None:
    assert not taken(run("afresh", "ablation.reuse=false", "ablation.rates=[0.1]"))


HASH = "a" * 16


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A study with one finished trial that has a configuration hash."""
    study = Written(tmp_path, "written")
    finish(study, 0)
    return study


def finish(study: Written, number: int, **changes: Any) -> TrialConfig:
    """Write a finished trial with the configuration hash."""
    config = study.trial(number, config_hash=HASH, **changes)
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


def test_every_study_of_the_storage_is_looked_at(written: Written, tmp_path: Path) -> None:
    assert origin(written) == "written/search-0000"
    finish(Written(tmp_path, "earlier"), 7)
    assert origin(written) == "earlier/search-0007"


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("config.json", "{no json}"),
        ("config.json", "[]"),
        ("reports.jsonl", "{}\n"),
        ("delta.safetensors", "another"),
        ("end.json", "[]"),
        ("end.json", None),
    ],
)
def test_a_trial_that_is_damaged_or_unfinished_is_passed_over_for_the_next(
    written: Written, tmp_path: Path, name: str, contents: str | None
) -> None:
    earlier = Written(tmp_path, "earlier")
    path = earlier.folder.trial(finish(earlier, 0).trial_id).path / name
    if contents is None:
        path.unlink()
    else:
        path.write_text(contents)
    (tmp_path / "no-study").mkdir()
    (tmp_path / "no-study" / "trials").write_text("a file")
    assert origin(written) == "written/search-0000"


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_trial_that_did_not_run_to_its_end_is_no_origin(tmp_path: Path, status: str) -> None:
    study = Written(tmp_path, "stopped")
    study.end(study.trial(0, config_hash=HASH), status)
    assert origin(study) is None


def test_a_trial_that_was_itself_taken_over_is_no_origin(tmp_path: Path) -> None:
    study = Written(tmp_path, "again")
    finish(study, 0, taken_from="first/search-0000")
    assert origin(study) is None


def test_a_trial_is_taken_over_whole_or_not_at_all(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    wanted = [TrialConfig.model_validate(written.folder.trial("search-0000").read_config())]
    folder = Written(tmp_path, "again").folder
    for step in ("create", "write", "write_end"):
        with monkeypatch.context() as broken:
            broken.setattr(TrialFolder, step, die)
            with pytest.raises(KeyboardInterrupt):
                reuse_results(folder, wanted)
        assert list((folder.path / "trials").iterdir()) == []
        assert not list(folder.path.glob(".adding-*"))
    assert reuse_results(folder, wanted) == {"search-0000"}
    (end,) = (trial.read_end() for trial in folder.trials())
    assert end is not None
    assert end.reason == "done before by written/search-0000"


def test_a_trial_that_cannot_be_copied_is_told_and_left_to_be_trained(
    written: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **options: object) -> None:
        raise OSError("the disk is gone")

    wanted = [TrialConfig.model_validate(written.folder.trial("search-0000").read_config())]
    folder = Written(tmp_path, "again").folder
    monkeypatch.setattr(TrialFolder, "write", fail)
    with caplog.at_level(logging.WARNING):
        assert reuse_results(folder, wanted) == set()
    assert "search-0000 equals written/search-0000" in caplog.text
    assert "the disk is gone" in caplog.text


def test_a_trial_without_a_hash_is_never_taken_over(tmp_path: Path) -> None:
    study = Written(tmp_path, "first")
    config = study.trial(0)
    study.report(config, 1)
    study.end(config)
    assert reuse_results(Written(tmp_path, "again").folder, [config]) == set()
