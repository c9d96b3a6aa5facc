"""A study that has ended grows, and what it had confirmed stays beside what it confirms now."""

from pathlib import Path

import pytest

from study.config.loading import build_config, dump_config, load_config
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError
from study.selection.extension import beside_earlier, extend, extended_config, extensions
from study.storage.study_folder import DESCRIPTION, REGISTERED, Registration, StudyFolder
from study.storage.trial_folder import End
from study.trial.study import Candidate, Study, best_candidate, candidate_to_register
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


def candidate(label: str, trial: int, same_as: str | None = None) -> Candidate:
    return Candidate(
        label=label,
        settings=of(trial),
        val_score=0.5,
        source_trial=f"search-{trial:04d}",
        same_as=same_as,
    )


def confirm(study: Study, label: str, own: TrialSettings, score: float) -> None:
    config = {"stage": "confirm", "label": label, "arm": label}
    for seed in (1, 2):
        trial = study.folder.trial(f"confirm-{label}-seed{seed}")
        own_config = {"trial_id": trial.trial_id, "seed": seed}
        trial.create(config | own_config | {"settings": own.model_dump(mode="json")})
        trial.append_report({"epoch": 4, "test_score": score})
        trial.write_end(End("finished", 4, 1.0))


def choose(study: Study, candidates: list[Candidate]) -> None:
    study.folder.write_json("candidates.json", [c.model_dump(mode="json") for c in candidates])


def told(candidates: list[Candidate]) -> dict[str, tuple[int, str | None]]:
    return {c.label: (int((c.source_trial or "0")[-4:]), c.same_as) for c in candidates}


@pytest.mark.parametrize(("text", "trials"), [("+50", 98), ("60", 60)])
def test_trials_are_added_or_given_in_all(study: Study, text: str, trials: int) -> None:
    assert grow(study, f"search.trials={text}").config.search.trials == trials
    assert load_config(study.folder.config_path).search.trials == trials


@pytest.mark.parametrize(
    "override", ["search.trials=48", "search.trials=+0", "resources.max_concurrent=2"]
)
def test_an_extension_that_adds_nothing_is_refused(study: Study, override: str) -> None:
    before = study.folder.config_path.read_text()
    with pytest.raises(ConfigError, match="must raise"):
        grow(study, override)
    assert study.folder.config_path.read_text() == before


@pytest.mark.parametrize("override", ["seed=2", "training.epochs=9", "search.asha=null"])
def test_what_would_make_trials_incomparable_cannot_change(study: Study, override: str) -> None:
    with pytest.raises(ConfigError, match="no longer compare"):
        grow(study, "search.trials=+50", override)


def test_a_length_given_twice_is_refused(study: Study) -> None:
    with pytest.raises(ConfigError, match=r"'search\.trials=\+5' and 'search\.trials=60'"):
        grow(study, "search.trials=+5", "search.trials=60")
    assert load_config(study.folder.config_path) == study.config


def test_a_time_that_is_over_is_raised_or_lifted_as_well(study: Study) -> None:
    search = study.config.search.model_copy(update={"minutes": 20})
    limited = Study(study.config.model_copy(update={"search": search}), study.folder)
    for override in ((), ("search.minutes=20",), ("search.minutes=5",)):
        with pytest.raises(ConfigError, match="20 minutes"):
            grow(limited, "search.trials=+1", *override)
    for text, minutes in (("30", 30), ("null", None)):
        limited = grow(limited, "search.trials=+1", f"search.minutes={text}")
        assert limited.config.search.minutes == minutes


def test_resources_may_change(study: Study) -> None:
    extended = grow(study, "search.trials=+1", "resources.max_concurrent=2")
    assert extended.config.resources.max_concurrent == 2


def test_an_extension_that_died_before_its_configuration_does_not_count(study: Study) -> None:
    grow(study, "search.trials=+50")
    assert extensions(study) == []


def test_an_extension_begun_again_after_it_died_keeps_the_earlier_choice(study: Study) -> None:
    choose(study, [candidate("best", 7)])
    written = study.folder.config_path.read_text()
    grow(study, "search.trials=+50")
    assert study.folder.read_json("candidates.json") is None, "the choice is open again"
    study.folder.config_path.write_text(written)  # as when the driver died just before
    again = grow(study, "search.trials=+20")
    (entry,) = extensions(again)
    assert (entry["from"], entry["to"]) == (48, 68)
    assert [c["source_trial"] for c in entry["candidates"]] == ["search-0007"]


def test_an_extended_study_says_no_more_what_it_found(study: Study) -> None:
    study.folder.write_json(
        REGISTERED, Registration("clipfit-digits", "1", True, "it is the first")
    )
    (study.folder.path / DESCRIPTION).write_text("the best is here")
    assert study.folder.is_complete()
    grow(study, "search.trials=+50")
    assert study.folder.read_registration() is None
    assert not study.folder.is_complete()


def test_without_an_extension_a_choice_stays_as_it_is(study: Study) -> None:
    chosen = [candidate("best", 7)]
    assert beside_earlier(study, chosen) == chosen


@pytest.fixture
def extended(study: Study) -> Study:
    choose(
        study,
        [
            candidate("clipfit", 1),
            candidate("clipfit-tuned", 5),
            candidate("best", 7),
            candidate("second", 5, "clipfit-tuned"),
        ],
    )
    for label, trial, score in (("clipfit", 1, 0.5), ("clipfit-tuned", 5, 0.6), ("best", 7, 0.7)):
        confirm(study, label, of(trial), score)
    return grow(study, "search.trials=+50")


def test_a_winner_that_stays_is_not_confirmed_again(extended: Study) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 5), candidate("best", 7)]
    assert beside_earlier(extended, chosen) == chosen


def test_a_new_winner_is_confirmed_and_the_earlier_one_keeps_its_results_under_its_own_name(
    extended: Study,
) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 5), candidate("best", 60),
              candidate("second", 7)]  # fmt: skip
    assert told(beside_earlier(extended, chosen)) == {
        "clipfit": (1, None),
        "clipfit-tuned": (5, None),
        "best": (60, None),
        "second": (7, "best-of-48"),
        "best-of-48": (7, None),
    }
    assert not (extended.folder.path / "trials" / "confirm-best-seed1").exists()
    moved = extended.folder.trial("confirm-best-of-48-seed2")
    assert moved.read_reports() == [{"epoch": 4, "test_score": 0.7}]
    assert {moved.read_config()[key] for key in ("label", "arm")} == {"best-of-48"}
    assert moved.read_config()["trial_id"] == "confirm-best-of-48-seed2"


def test_what_was_confirmed_under_another_name_is_not_trained_again(extended: Study) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 80),
              candidate("best", 80, "clipfit-tuned"), candidate("second", 5)]  # fmt: skip
    assert told(beside_earlier(extended, chosen)) == {
        "clipfit": (1, None),
        "clipfit-tuned": (80, None),
        "best": (80, "clipfit-tuned"),
        "second": (5, "clipfit-tuned-of-48"),
        "clipfit-tuned-of-48": (5, None),
        "best-of-48": (7, None),
    }


def test_what_stood_for_an_earlier_winner_without_a_delta_does_not_stand_for_the_new_one(
    study: Study,
) -> None:
    choose(study, [candidate("full", 3), candidate("best", 3, "full"),
                    candidate("best-with-delta", 2)])  # fmt: skip
    confirm(study, "best-with-delta", of(2), 0.6)
    extended = grow(study, "search.trials=+50")
    found = beside_earlier(extended, [candidate("full", 3), candidate("best", 60)])
    assert told(found) == {
        **{"full": (3, None), "best": (60, None), "best-with-delta-of-48": (2, None)}
    }
    assert candidate_to_register(found) == best_candidate(found)
    assert study.folder.trial("confirm-best-with-delta-of-48-seed1").read_end()


def test_what_follows_from_the_choice_is_not_trained_again_where_it_was_tested(
    extended: Study,
) -> None:
    derived = candidate("best-plain", 5).model_copy(update={"source_trial": None})
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 80), candidate("best", 60)]
    third = candidate("third", 5)
    found = told(beside_earlier(extended, [*chosen, third, derived]))
    assert found["best-plain"] == (0, "clipfit-tuned-of-48")
    same = derived.model_copy(update={"same_as": "third", "settings": ANOTHER})
    found = told(beside_earlier(extended, [*chosen, third, same]))
    assert found["third"] == (5, "clipfit-tuned-of-48")
    assert found["best-plain"] == (0, "clipfit-tuned-of-48"), "not by way of another"


def test_choosing_again_after_a_crash_gives_the_same(extended: Study) -> None:
    chosen = [candidate("clipfit", 1), candidate("best", 60)]
    first = beside_earlier(extended, chosen)
    assert beside_earlier(extended, chosen) == first


@pytest.mark.parametrize("confirmed_before", [True, False])
def test_choosing_again_after_the_new_winner_was_tested_moves_none_of_its_tests(
    study: Study, confirmed_before: bool
) -> None:
    choose(study, [candidate("best", 5)])
    if confirmed_before:
        confirm(study, "best", ANOTHER, 0.7)
    extended = grow(study, "search.trials=+50")
    first = beside_earlier(extended, [candidate("best", 60)])
    assert told(first) == {"best": (60, None), "best-of-48": (5, None)}
    confirm(study, "best", of(60), 0.8)
    assert beside_earlier(extended, [candidate("best", 60)]) == first
    scores = {t.trial_id: t.read_reports()[-1]["test_score"] for t in study.folder.trials()}
    earlier = {f"confirm-best-of-48-seed{seed}": 0.7 for seed in (1, 2) if confirmed_before}
    assert scores == {"confirm-best-seed1": 0.8, "confirm-best-seed2": 0.8} | earlier


def test_a_second_extension_keeps_what_the_first_set_aside(extended: Study) -> None:
    choose(extended, beside_earlier(extended, [candidate("best", 60)]))
    confirm(extended, "best", of(60), 0.8)
    again = grow(extended, "search.trials=+2")
    labels = told(beside_earlier(again, [candidate("best", 7)]))
    assert labels["best"] == (7, "best-of-48"), "an earlier winner may win again"
    assert labels["best-of-98"] == (60, None)
    assert labels["best-of-48"] == (7, None)
