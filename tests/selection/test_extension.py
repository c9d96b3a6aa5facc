"""A study that has ended grows, and what it had confirmed stays beside what it confirms now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config, dump_config, load_config
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError
from study.selection.choice import final_candidate
from study.selection.extension import beside_earlier, extend, extended_config, extensions
from study.selection.patience import SearchEnd, read_search_end
from study.storage.study_folder import (
    DESCRIPTION,
    PATIENCE,
    REGISTERED,
    Registration,
    StudyFolder,
)
from study.storage.trial_folder import End
from study.trial.study import Candidate, Study, best_candidate
from tests.case_tables import from_table
from tests.settings import settings

ANOTHER = settings("vision.ln + text.ln - text.ln", None, 0.05)
"""The settings of trial 5 with the subset in other words."""


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


def candidates(trials: Mapping[str, int], **same_as: str) -> list[Candidate]:
    """The candidates of labels, each with its trial."""
    return [
        Candidate(
            label=label,
            settings=of(trial),
            val_score=0.5,
            source_trial=f"search-{trial:04d}",
            same_as=same_as.get(label),
        )
        for label, trial in trials.items()
    ]


def confirm(study: Study, label: str, own: TrialSettings, score: float):
    for seed in (1, 2):
        trial = study.folder.trial(f"confirm-{label}-seed{seed}")
        config: dict[str, Any] = {"stage": "confirm", "label": label, "arm": label, "seed": seed}
        settings = own.model_dump(mode="json")
        config |= {"trial_id": trial.trial_id, "settings": settings}
        trial.create(config)
        trial.append_report({"epoch": 4, "test_score": score})
        trial.write_end(End("finished", 4, 1.0))


def choose(study: Study, candidates: list[Candidate]):
    study.folder.write_json("candidates.json", [c.model_dump(mode="json") for c in candidates])


def told(candidates: list[Candidate]) -> dict[str, int | str]:
    """What each label stands for: another label, or its trial."""
    return {c.label: c.same_as or int(str(c.source_trial)[-4:]) for c in candidates}


@from_table
def test_trials_are_added_or_given_in_all_and_resources_may_change(
    study: Study, text: str, trials: int
):
    extended = grow(study, f"search.trials={text}", "resources.max_concurrent=2").config
    assert (extended.search.trials, extended.resources.max_concurrent) == (trials, 2)
    assert load_config(study.folder.config_path) == extended


@from_table
def test_what_adds_nothing_or_makes_trials_incomparable_is_refused(
    study: Study, overrides: list[str], told: str
):
    with pytest.raises(ConfigError, match=told):
        grow(study, *overrides)
    assert load_config(study.folder.config_path) == study.config


def limited(study: Study, minutes: float | None) -> Study:
    """Return a study whose search has a limit of time."""
    return Study(study.config.with_section("search", minutes=minutes), study.folder)


def test_a_time_that_is_over_is_raised_or_lifted_as_well(study: Study):
    for overrides in ([], ["search.minutes=20"], ["search.minutes=5"]):
        with pytest.raises(ConfigError, match=r"search\.minutes: .* more than 20, or null"):
            grow(limited(study, 20), "search.trials=+1", *overrides)
    longer = grow(limited(study, 20), "search.trials=+1", "search.minutes=30")
    assert longer.config.search.minutes == 30
    assert grow(longer, "search.trials=+1", "search.minutes=null").config.search.minutes is None


@pytest.mark.parametrize("before", [None, 20])
def test_the_new_time_is_longer_than_what_was_used(study: Study, before: float | None):
    trial = study.folder.trial("search-0000")
    trial.create({"stage": "search", "arm": "baseline", "label": "clipfit"})
    trial.append_report({"epoch": 0, "seconds": 1800.0, "ended_at": 1e9})
    with pytest.raises(ConfigError, match=r"taken 30\.0 minutes.* more than 30, or null"):
        grow(limited(study, before), "search.trials=+1", "search.minutes=30")
    grown = grow(limited(study, before), "search.trials=+1", "search.minutes=30.5")
    assert grown.config.search.minutes == 30.5


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


def test_a_search_that_ended_early_is_extended_without_its_patience(study: Study):
    patient = study.config.search.model_copy(update={"patience": "auto"})
    patient_study = Study(study.config.model_copy(update={"search": patient}), study.folder)
    study.folder.write_json(PATIENCE, SearchEnd(30, 0.001, 0.02))
    with pytest.raises(ConfigError, match=r"after 30 trials.* add search\.patience=null"):
        grow(patient_study, "search.trials=+1")
    grow(patient_study, "search.trials=+1", "search.patience=null")
    assert read_search_end(study.folder) is None


def test_an_extension_that_died_before_its_configuration_keeps_the_earlier_choice(
    study: Study,
):
    choose(study, candidates({"best": 7}))
    written = study.folder.config_path.read_text()
    grow(study, "search.trials=+50")
    assert study.folder.read_json("candidates.json") is None, "the choice is open again"
    study.folder.config_path.write_text(written)  # as when the driver died just before
    assert extensions(study) == []
    (entry,) = extensions(grow(study, "search.trials=+20"))
    assert (entry["from"], entry["to"]) == (48, 68)
    assert [c["source_trial"] for c in entry["candidates"]] == ["search-0007"]


def test_an_extended_study_says_no_more_what_it_found(study: Study):
    registered = Registration("clipfit-digits", "1", True, "it is the first")
    study.folder.write_json(REGISTERED, registered)
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    assert study.folder.is_complete()
    grow(study, "search.trials=+50")
    assert study.folder.read_registration() is None
    assert not study.folder.is_complete()


def test_another_final_model_is_trained_without_choosing_again(study: Study):
    choose(study, candidates({"best": 7}))
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    assert grow(study, "final.images=everything").config.final.images == "everything"
    assert told(list(study.candidates() or ())) == {"best": 7}
    assert [entry["candidates"] for entry in extensions(study)] == [None]
    assert not study.folder.is_complete()


@pytest.fixture
def extended(study: Study) -> Study:
    chosen = candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 7})
    choose(study, chosen + candidates({"second": 5}, second="clipfit-tuned"))
    for each in chosen:
        confirm(study, each.label, each.settings, 0.7)
    return grow(study, "search.trials=+50")


def test_a_winner_that_stays_is_not_confirmed_again(study: Study, extended: Study):
    chosen = candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 7})
    for of in (study, extended):  # without an extension a choice stays as it is
        assert beside_earlier(of, chosen) == chosen


def test_a_new_winner_is_confirmed_and_the_earlier_one_keeps_its_results_under_its_own_name(
    extended: Study,
):
    chosen = candidates({"clipfit": 1, "clipfit-tuned": 5, "best": 60, "second": 7})
    now = {"clipfit": 1, "clipfit-tuned": 5, "best": 60, "second": "best-of-48", "best-of-48": 7}
    assert told(beside_earlier(extended, chosen)) == now
    assert not (extended.folder.path / "trials" / "confirm-best-seed1").exists()
    moved = extended.folder.trial("confirm-best-of-48-seed2")
    assert moved.read_reports() == [{"epoch": 4, "test_score": 0.7}]
    names = {moved.read_config()[key] for key in ("label", "arm")}
    assert names == {"best-of-48"}
    assert moved.read_config()["trial_id"] == "confirm-best-of-48-seed2"
    assert told(beside_earlier(extended, chosen)) == now, "after a crash"


def test_what_was_confirmed_under_another_name_is_not_trained_again(extended: Study):
    trials = {"clipfit": 1, "clipfit-tuned": 80, "best": 80, "second": 5}
    assert told(beside_earlier(extended, candidates(trials, best="clipfit-tuned"))) == {
        "clipfit": 1,
        "clipfit-tuned": 80,
        "best": "clipfit-tuned",
        "second": "clipfit-tuned-of-48",
        "clipfit-tuned-of-48": 5,
        "best-of-48": 7,
    }


def test_what_stood_for_an_earlier_winner_without_a_delta_does_not_stand_for_the_new_one(
    study: Study,
):
    choose(study, candidates({"full": 3, "best": 3, "best-with-delta": 2}, best="full"))
    confirm(study, "best-with-delta", of(2), 0.6)
    extended = grow(study, "search.trials=+50")
    found = beside_earlier(extended, candidates({"full": 3, "best": 60}))
    assert told(found) == {"full": 3, "best": 60, "best-with-delta-of-48": 2}
    assert final_candidate(found) == best_candidate(found)
    assert study.folder.trial("confirm-best-with-delta-of-48-seed1").read_end()


def test_what_follows_from_the_choice_is_not_trained_again_where_it_was_tested(
    extended: Study,
):
    chosen = candidates({"clipfit-tuned": 80, "best": 60, "third": 5})
    (derived,) = candidates({"best-with-delta": 5})
    derived = derived.model_copy(update={"source_trial": None})
    same = derived.model_copy(update={"same_as": "third", "settings": ANOTHER})
    for plain in (derived, same):
        found = told(beside_earlier(extended, [*chosen, plain]))
        assert found["third"] == "clipfit-tuned-of-48"
        assert found["best-with-delta"] == "clipfit-tuned-of-48", "not by way of another"


def test_choosing_again_after_the_new_winner_was_tested_moves_none_of_its_tests(
    study: Study,
):
    choose(study, candidates({"best": 5}))
    confirm(study, "best", ANOTHER, 0.7)
    extended = grow(study, "search.trials=+50")
    first = beside_earlier(extended, candidates({"best": 60}))
    assert told(first) == {"best": 60, "best-of-48": 5}
    confirm(study, "best", of(60), 0.8)
    assert beside_earlier(extended, candidates({"best": 60})) == first
    scores = {t.trial_id: t.read_reports()[-1]["test_score"] for t in study.folder.trials()}
    assert scores == {
        "confirm-best-of-48-seed1": 0.7,
        "confirm-best-of-48-seed2": 0.7,
        "confirm-best-seed1": 0.8,
        "confirm-best-seed2": 0.8,
    }


def test_a_second_extension_keeps_what_the_first_set_aside(extended: Study):
    choose(extended, beside_earlier(extended, candidates({"best": 60})))
    confirm(extended, "best", of(60), 0.8)
    again = grow(extended, "search.trials=+2")
    assert told(beside_earlier(again, candidates({"best": 7}))) == {
        "best": "best-of-48",  # an earlier winner may win again
        "clipfit": 1,
        "clipfit-tuned": 5,
        "best-of-48": 7,
        "best-of-98": 60,
    }
