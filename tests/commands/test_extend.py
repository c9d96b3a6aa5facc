"""A study that has ended grows, and what it had tested stays beside what it tests now."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from study.commands.extend import extend, extended_config
from study.config.loading import build_config, dump_config, load_config
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError
from study.results.best_configuration import extensions, final_candidate
from study.run import main
from study.search.candidates import with_earlier_candidates
from study.storage.study_folder import (
    DESCRIPTION,
    REGISTERED,
    Registration,
    StudyFolder,
)
from study.trial.study import Candidate, Study, best_candidate
from tests.settings import settings


@pytest.fixture
def study(tmp_path: Path) -> Study:
    config = build_config({"name": "mine", "search": {"trials": 48}}, "test")
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {})
    return Study(config, folder)


def grow(study: Study, *overrides: str) -> Study:
    """Extend a study; give it with its new configuration."""
    extended = extended_config(study, overrides)
    extend(study, extended)
    return Study(extended, study.folder)


def of(trial: int) -> TrialSettings:
    """The settings of a trial."""
    return settings("vision.ln", None, trial / 100)


def candidates(trials: Mapping[str, int], search_trials: int = 48) -> list[Candidate]:
    """The candidates of labels, each with its trial."""
    return [
        Candidate(
            label=label,
            settings=of(trial),
            val_score=0.5,
            source_trial=f"search-{trial:04d}",
            training=f"{trial:012d}",
            search_trials=search_trials,
        )
        for label, trial in trials.items()
    ]


def choose(study: Study, candidates: list[Candidate]):
    study.folder.write_json("candidates.json", [c.model_dump(mode="json") for c in candidates])


def source_trials(candidates: list[Candidate]) -> dict[str, int]:
    """The trial that each label stands for."""
    return {c.label: int(str(c.source_trial)[-4:]) for c in candidates}


@pytest.mark.parametrize("text, trials", [("+50", 98), ("60", 60)])
def test_trials_are_added_or_given_in_all_and_resources_may_change(
    study: Study, text: str, trials: int
):
    extended = grow(study, f"search.trials={text}", "resources.max_concurrent=2").config
    assert (extended.search.trials, extended.resources.max_concurrent) == (trials, 2)
    assert load_config(study.folder.config_path) == extended


@pytest.mark.parametrize(
    "overrides",
    [
        ["search.trials=48"],
        ["search.trials=+0"],
        ["resources.max_concurrent=2"],
        ["final.images=labelled"],
        ["search.minutes=60", "final.images=everything"],
        ["search.trials=+50", "seed=2"],
        ["search.trials=+50", "training.epochs=9"],
        ["search.trials=+50", "search.asha=null"],
        ["search.trials=+5", "search.trials=60"],
    ],
    ids=" ".join,
)
def test_what_adds_nothing_or_makes_trials_incomparable_is_refused(
    study: Study, overrides: list[str]
):
    with pytest.raises(ConfigError):
        grow(study, *overrides)
    assert load_config(study.folder.config_path) == study.config


def test_a_study_whose_tracker_is_away_is_not_extended(study: Study, refused: Callable[..., str]):
    choose(study, candidates({"best": 7}))
    files = [path for path in study.folder.path.iterdir() if path.is_file()]
    before = [path.read_bytes() for path in files]
    words = ("search.trials=+2", "tracking.uri=sqlite:///away/mlflow.db")
    assert "away" in refused("extend", study.folder.path, *words)
    assert [path.read_bytes() for path in files] == before


def limited(study: Study, minutes: float | None) -> Study:
    """Return a study whose search has a limit of time."""
    return Study(study.config.with_section("search", minutes=minutes), study.folder)


def test_the_new_time_is_longer_than_the_limit_and_what_was_used(study: Study):
    longer = limited(study, 20)
    for minutes in ([], ["search.minutes=20"]):
        with pytest.raises(ConfigError, match=r"search\.minutes: .* more than 20, or null"):
            grow(longer, "search.trials=+1", *minutes)
    assert grow(longer, "search.trials=+1", "search.minutes=21").config.search.minutes == 21
    trial = study.folder.trial("search-0000")
    trial.create({"stage": "search", "group": "baseline", "label": "clipfit"})
    trial.append_reports({"epoch": 0, "seconds": 1800.0, "ended_at": 1e9})
    with pytest.raises(ConfigError, match=r"taken 30\.0 minutes.* more than 30, or null"):
        grow(longer, "search.trials=+1", "search.minutes=30")
    grown = grow(longer, "search.trials=+1", "search.minutes=null")
    assert grown.config.search.minutes is None


@pytest.mark.parametrize(
    "values", [{"ablation": {"design": "only_one"}}, {"search": {"trials": 0}}]
)
def test_a_study_without_a_search_is_not_advised_to_extend_itself(
    study: Study, values: dict[str, Any]
):
    unsearched = Study(build_config({"name": "mine", **values}, "test"), study.folder)
    with pytest.raises(ConfigError, match="has no search") as caught:
        grow(unsearched, "search.trials=+50")
    assert " extend " not in str(caught.value)


def test_an_extension_that_died_before_its_configuration_keeps_the_earlier_choice(
    study: Study,
):
    choose(study, candidates({"best": 7}))
    written = study.folder.config_path.read_text()
    study.folder.write_json(REGISTERED, Registration("clipfit-digits", "1", True, "first"))
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    grow(study, "search.trials=+50")
    assert study.folder.read_json("candidates.json") is None, "the selection is open again"
    assert study.folder.read_registration() is None
    assert not study.folder.is_complete()
    study.folder.config_path.write_text(written)  # as when the driver died just before
    assert extensions(study) == []
    (entry,) = extensions(grow(study, "search.trials=+20"))
    assert (entry["from"], entry["to"]) == (48, 68)
    assert [c["source_trial"] for c in entry["candidates"]] == ["search-0007"]


def test_another_final_model_is_trained_without_choosing_again(study: Study):
    choose(study, candidates({"best": 7}))
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    assert grow(study, "final.images=everything").config.final.images == "everything"
    assert source_trials(list(study.candidates() or ())) == {"best": 7}
    assert [entry["candidates"] for entry in extensions(study)] == [None]
    assert not study.folder.is_complete()


@pytest.fixture
def extended(study: Study) -> Study:
    choose(study, candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 7, "second": 5}))
    return grow(study, "search.trials=+50")


def test_what_was_tested_before_stays_beside_the_new_choice_under_a_label_of_its_own(
    extended: Study,
):
    same = candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 7})
    assert with_earlier_candidates(extended, same) == same
    head = {"settings": same[2].settings.model_copy(update={"head": "linear"})}
    found = with_earlier_candidates(extended, [same[2].model_copy(update=head)])
    assert source_trials(found).keys() >= {"best", "best-of-48"}, (
        "with another head, another result"
    )
    chosen = candidates({"clipfit": 1, "clipfit-tuned": 80, "best": 60, "second": 7}, 98)
    found = with_earlier_candidates(extended, chosen)
    assert source_trials(found) == {
        "clipfit": 1,
        "clipfit-tuned": 80,
        "best": 60,
        "second": 7,
        "clipfit-tuned-of-48": 5,
    }
    assert [one.search_trials for one in found] == [98, 98, 98, 98, 48]
    assert found[-1].training == candidates({"any": 5})[0].training, "its tests are found by this"


def test_a_second_extension_keeps_what_the_first_set_aside(extended: Study):
    choose(extended, with_earlier_candidates(extended, candidates({"best": 60}, 98)))
    again = grow(extended, "search.trials=+2")
    assert source_trials(with_earlier_candidates(again, candidates({"best": 7}, 100))) == {
        "best": 7,  # an earlier one may be the best again
        "clipfit-of-48": 1,
        "clipfit-tuned-of-48": 5,
        "best-of-98": 60,
    }


def test_an_earlier_stand_in_for_a_best_without_a_delta_is_not_the_final_model(study: Study):
    choose(study, candidates({"full": 3, "best": 3, "best-with-delta": 2}))
    extended = grow(study, "search.trials=+50")
    found = with_earlier_candidates(extended, candidates({"full": 3, "best": 60}, 98))
    assert source_trials(found) == {"full": 3, "best": 60, "best-with-delta-of-48": 2}
    assert final_candidate(found) == best_candidate(found)


SMALL = ["data.shots=4", "data.augment=false", "training.epochs=3", "test.seeds=[1,2]"]
SMALL += ["test.runners_up=1", "search.selection=holdout"]


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


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.timeout(900)
def test_the_search_has_all_its_trials_and_the_first_ones_were_kept(grown: StudyFolder):
    configs = [trial.read_config() for trial in grown.trials()]
    whole = [config for config in configs if config["stage"] == "search"]
    numbers = [config["number"] for config in whole]
    assert numbers == list(range(len(whole))), "those of other methods are numbered with them"
    search = [config for config in whole if config["label"] not in ("linear", "clap")]
    assert len({config["config_hash"] for config in search}) == 16
    assert len({config["trial_id"] for config in search} & {*grown.read_json("before.json")}) == 8


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.timeout(900)
def test_the_choice_was_made_anew_and_everything_chosen_is_tested(grown: StudyFolder):
    candidates = grown.read_json("candidates.json")
    chosen = {c["training"]: c["settings"]["rates"] for c in candidates}
    configs = [trial.read_config() for trial in grown.trials()]
    tested = [config for config in configs if config["stage"] == "test"]
    assert {config["label"]: config["settings"]["rates"] for config in tested} == chosen
    sources = {candidate["source_trial"] for candidate in candidates}
    before = {candidate["source_trial"] for candidate in grown.read_json("chosen.json")}
    assert before <= sources, "what was tested before is still reported"
    leaderboard = (grown.path / "leaderboard.md").read_text()
    assert "extended after an earlier selection had been tested" in leaderboard
