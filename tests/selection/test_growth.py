"""A study that ended is given more trials, and another learns from it: the command line, whole."""

from collections import Counter
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.run import main
from study.storage.study_folder import StudyFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SMALL = ["data.shots=4", "data.augment=false", "training.epochs=3", "confirm.seeds=[1,2]"]
SMALL += ["confirm.runners_up=1", "search.selection=holdout"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("growth")


@pytest.fixture(scope="module")
def grown(place: Path, tiny_backbone: Path) -> StudyFolder:
    """A study of 8 trials, ended, and then given 8 more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        backbone = f"backbone.name={tiny_backbone}"
        assert main(["quickstart", "name=mine", backbone, "search.trials=8", *SMALL]) == 0
        folder = StudyFolder(place / "runs" / "mine")
        folder.write_json("before.json", [t.trial_id for t in folder.trials()])
        folder.write_json("chosen.json", folder.read_json("candidates.json"))
        assert main(["extend", "mine", "search.trials=+8"]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(grown: StudyFolder, place: Path) -> pd.DataFrame:
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    found: pd.DataFrame = mlflow.search_runs(search_all_experiments=True)
    return found[found["tags.study"] == "mine"]


def test_the_search_has_all_its_trials_and_the_first_ones_were_kept(grown: StudyFolder) -> None:
    whole = [t for t in grown.trials() if t.read_config()["stage"] == "search"]
    numbers = [t.read_config()["number"] for t in whole]
    assert numbers == list(range(len(whole))), "peers and variants are numbered with them"
    counts_trial = load_config(grown.config_path).search.counts_trial
    search = [t for t in whole if counts_trial(t.read_config()["arm"], t.read_config()["label"])]
    assert len(search) == 16
    assert all(t.read_end() is not None for t in grown.trials())
    tried = (t.read_config() for t in search)
    assert len({(config["subset_key"], str(config["settings"])) for config in tried}) == 16
    kept = {t.trial_id for t in search} & set(grown.read_json("before.json"))
    assert len(kept) == 8


def test_the_choice_was_made_anew_and_everything_chosen_is_confirmed(grown: StudyFolder) -> None:
    candidates = grown.read_json("candidates.json")
    trained = {c["label"] for c in candidates if c["same_as"] is None}
    confirmed = {
        t.read_config()["label"] for t in grown.trials() if t.read_config()["stage"] == "confirm"
    }
    assert confirmed == trained
    by_label = {c["label"]: c for c in candidates}
    for old in grown.read_json("chosen.json"):
        sources = {c["source_trial"] for c in candidates}
        assert old["source_trial"] in sources, "what was confirmed before is still told"
    before = (c["val_score"] for c in grown.read_json("chosen.json"))
    assert by_label["best"]["val_score"] >= max(score for score in before if score is not None)


def test_each_confirmation_is_of_the_configuration_that_its_label_names(
    grown: StudyFolder,
) -> None:
    by_label = {c["label"]: c for c in grown.read_json("candidates.json")}
    for trial in grown.trials():
        if trial.read_config()["stage"] == "confirm":
            candidate = by_label[trial.read_config()["label"]]
            for key in ("subset", "rates"):
                assert trial.read_config()["settings"][key] == candidate["settings"][key]


def test_the_leaderboard_says_that_a_choice_had_been_tested_before(grown: StudyFolder) -> None:
    told = (grown.path / "leaderboard.md").read_text()
    assert "extended after its choice from 8 trials had been tested" in told
    assert "before test was read" not in told


def test_mlflow_has_one_run_a_trial_under_its_present_name(
    grown: StudyFolder, runs: pd.DataFrame
) -> None:
    trials = runs[runs["tags.trial_id"].notna()]
    assert Counter(trials["tags.trial_id"]) == Counter(t.trial_id for t in grown.trials())
    labels = dict(zip(trials["tags.trial_id"], trials["tags.label"], strict=True))
    assert labels == {t.trial_id: t.read_config()["label"] for t in grown.trials()}
    assert not set(runs["status"]) & {"RUNNING", "SCHEDULED"}


@pytest.fixture(scope="module")
def heir(grown: StudyFolder, place: Path, tiny_backbone: Path) -> StudyFolder:
    """A study that started from what the grown one had found, ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        overrides = [f"backbone.name={tiny_backbone}", "search.trials=12", "seed=7", *SMALL]
        assert main(["quickstart", "name=heir", "search.warm_start=mine", *overrides]) == 0
    return StudyFolder(place / "runs" / "heir")


def test_another_study_starts_from_what_this_one_found(
    grown: StudyFolder, heir: StudyFolder
) -> None:
    def proposed(folder: StudyFolder) -> set[TrialSettings]:
        return {
            TrialSettings.model_validate(t.read_config()["settings"])
            for t in folder.trials()
            if t.read_config()["stage"] == "search" and t.read_config()["arm"] != "baseline"
        }

    assert proposed(heir) & proposed(grown)


def test_a_study_outlives_the_one_that_it_started_from(
    grown: StudyFolder, heir: StudyFolder, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    away = grown.path.rename(place / "away")
    try:
        assert main(["resume", "heir"]) == 0
        names = ("candidates.json", "registered.json", "description.md", "study.yaml")
        before = [(heir.path / name).read_bytes() for name in names]
        nowhere = f"tracking.uri=sqlite:///{place}/nowhere/mlflow.db"
        assert main(["extend", "heir", "search.trials=+1", nowhere]) == 2
        assert [(heir.path / name).read_bytes() for name in names] == before
        assert main(["extend", "heir", "search.trials=+1"]) == 0
    finally:
        away.rename(grown.path)
