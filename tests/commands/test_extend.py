"""A study that has ended grows, and what it had tested stays beside what it tests now."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from study.commands.extend import extend, extended_config
from study.config.loading import build_config, dump_config, load_config
from study.errors import ConfigError
from study.results.best_configuration import extensions
from study.run import main
from study.search.candidates import with_earlier_candidates
from study.storage.study_folder import DESCRIPTION, REGISTERED, Registration, StudyFolder
from study.trial.study import Candidate, Study, read_candidates
from tests.real_study import configs_of
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


def candidates(trials: Mapping[str, int], search_trials: int = 48) -> list[Candidate]:
    """The candidates of labels, each with its trial."""
    return [
        Candidate(
            label=label,
            settings=settings("vision.ln", None, trial / 100),
            val_score=0.5,
            source_trial=f"search-{trial:04d}",
            training=f"{trial:012d}",
            search_trials=search_trials,
        )
        for label, trial in trials.items()
    ]


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
        ["resources.max_concurrent=2"],
        ["final.images=labelled"],
        ["search.minutes=60", "final.images=everything"],
        ["search.trials=+50", "seed=2"],
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
    study.write_candidates(candidates({"best": 7}))
    words = ("search.trials=+2", "tracking.uri=sqlite:///away/mlflow.db")
    assert "away" in refused("extend", study.folder.path, *words)
    assert load_config(study.folder.config_path) == study.config
    assert study.candidates()


def test_the_new_time_is_longer_than_the_limit_and_what_was_used(study: Study):
    limited = study.with_config(study.config.with_section("search", minutes=20))
    for minutes in ([], ["search.minutes=20"]):
        with pytest.raises(ConfigError, match=r"search\.minutes: .* more than 20, or null"):
            grow(limited, "search.trials=+1", *minutes)
    assert grow(limited, "search.trials=+1", "search.minutes=21").config.search.minutes == 21
    trial = study.folder.trial("search-0000")
    trial.create({"stage": "search", "group": "baseline", "label": "clipfit"})
    trial.append_reports({"epoch": 0, "seconds": 1800.0, "ended_at": 1e9})
    with pytest.raises(ConfigError, match=r"taken 30\.0 minutes.* more than 30, or null"):
        grow(limited, "search.trials=+1", "search.minutes=30")
    grown = grow(limited, "search.trials=+1", "search.minutes=null")
    assert grown.config.search.minutes is None


def test_an_extension_that_died_before_its_configuration_keeps_the_earlier_selection(study: Study):
    study.write_candidates(candidates({"best": 7}))
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
    study.write_candidates(candidates({"best": 7}))
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    assert grow(study, "final.images=everything").config.final.images == "everything"
    assert source_trials(list(study.candidates() or ())) == {"best": 7}
    assert [entry["candidates"] for entry in extensions(study)] == [None]
    assert not study.folder.is_complete()


@pytest.fixture
def extended(study: Study) -> Study:
    study.write_candidates(candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 7, "second": 5}))
    return grow(study, "search.trials=+50")


def test_what_was_tested_before_stays_beside_the_new_selection_under_a_label_of_its_own(
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
    extended.write_candidates(with_earlier_candidates(extended, candidates({"best": 60}, 98)))
    again = grow(extended, "search.trials=+2")
    assert source_trials(with_earlier_candidates(again, candidates({"best": 7}, 100))) == {
        "best": 7,  # an earlier one may be the best again
        "clipfit-of-48": 1,
        "clipfit-tuned-of-48": 5,
        "best-of-98": 60,
    }


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.timeout(900)
def test_an_extension_keeps_the_first_trials_and_tests_what_it_chooses_anew(
    tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    small = ["data.shots=4", "data.augment=false", "training.epochs=3", "test.seeds=[1,2]"]
    small += ["test.runners_up=1", "search.selection=holdout", f"backbone.name={tiny_backbone}"]
    assert main(["quickstart", "name=mine", "search.trials=8", *small]) == 0
    folder = StudyFolder(tmp_path / "runs" / "mine")
    trials_before = {trial.trial_id for trial in folder.trials()}
    chosen_before = {one.source_trial for one in read_candidates(folder) or ()}
    assert main(["extend", "mine", "search.trials=+8"]) == 0
    whole = configs_of(folder)
    assert [config.number for config in whole] == [*range(len(whole))], "other methods as well"
    search = [config for config in whole if config.label not in ("linear", "clap")]
    assert len({config.config_hash for config in search}) == 16
    assert len({config.trial_id for config in search} & trials_before) == 8
    chosen = read_candidates(folder) or ()
    tested = {config.label: config.settings.rates for config in configs_of(folder, "test")}
    assert tested == {one.training: one.settings.rates for one in chosen}
    assert chosen_before <= {one.source_trial for one in chosen}, "it is still reported"
    leaderboard = (folder.path / "leaderboard.md").read_text()
    assert "extended after an earlier selection had been tested" in leaderboard
