"""A study that has ended grows, and what it had confirmed stays beside what it confirms now."""

from pathlib import Path

import pytest
from settings import settings

from study.config.loading import build_config, dump_config, load_config
from study.config.schema import StudyConfig
from study.config.settings import Settings
from study.errors import ConfigError
from study.selection.candidates import beside_earlier, extend, extended_config, extensions
from study.storage.ledger import DESCRIPTION, REGISTERED, End, Registration, StudyFolder
from study.trial.study import Candidate, Study, best_of, registrable

ANOTHER = settings("vision.ln + text.ln - text.ln", None, 0.05)
"""The settings of trial 5 with the subset in other words."""


@pytest.fixture
def config() -> StudyConfig:
    return build_config({"name": "mine", "search": {"trials": 48}}, "test")


@pytest.fixture
def folder(tmp_path: Path, config: StudyConfig) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {})
    return folder


def grow(study: Study, overrides: list[str]) -> StudyConfig:
    """Extend a study; give its new configuration."""
    extended = extended_config(study, overrides)
    extend(study, extended)
    return extended


def of(trial: int) -> Settings:
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


def confirm(folder: StudyFolder, label: str, own: Settings, score: float) -> None:
    config = {"stage": "confirm", "label": label, "arm": label}
    for seed in (1, 2):
        trial = folder.trial(f"confirm-{label}-seed{seed}")
        own_config = {"trial_id": trial.trial_id, "seed": seed}
        trial.create(config | own_config | {"settings": own.model_dump(mode="json")})
        trial.append_report({"epoch": 4, "test_score": score})
        trial.write_end(End("finished", 4, 1.0))


def choose(folder: StudyFolder, candidates: list[Candidate]) -> None:
    folder.write_json("candidates.json", [c.model_dump(mode="json") for c in candidates])


def told(candidates: list[Candidate]) -> dict[str, tuple[int, str | None]]:
    return {c.label: (int((c.source_trial or "0")[-4:]), c.same_as) for c in candidates}


@pytest.mark.parametrize(("text", "trials"), [("+50", 98), ("60", 60)])
def test_trials_are_added_or_given_in_all(
    folder: StudyFolder, config: StudyConfig, text: str, trials: int
) -> None:
    assert grow(Study(config, folder), [f"search.trials={text}"]).search.trials == trials
    assert load_config(folder.config_path).search.trials == trials


@pytest.mark.parametrize(
    "override", ["search.trials=48", "search.trials=+0", "resources.max_concurrent=2"]
)
def test_an_extension_that_adds_nothing_is_refused(
    folder: StudyFolder, config: StudyConfig, override: str
) -> None:
    before = folder.config_path.read_text()
    with pytest.raises(ConfigError, match="must raise"):
        grow(Study(config, folder), [override])
    assert folder.config_path.read_text() == before


@pytest.mark.parametrize("override", ["seed=2", "training.epochs=9", "search.asha=null"])
def test_what_would_make_trials_incomparable_cannot_change(
    folder: StudyFolder, config: StudyConfig, override: str
) -> None:
    with pytest.raises(ConfigError, match="no longer compare"):
        grow(Study(config, folder), ["search.trials=+50", override])


def test_a_length_given_twice_is_refused(folder: StudyFolder, config: StudyConfig) -> None:
    with pytest.raises(ConfigError, match=r"'search\.trials=\+5' and 'search\.trials=60'"):
        grow(Study(config, folder), ["search.trials=+5", "search.trials=60"])
    assert load_config(folder.config_path) == config


def test_a_time_that_is_over_is_raised_or_lifted_as_well(
    folder: StudyFolder, config: StudyConfig
) -> None:
    limited = config.model_copy(update={"search": config.search.model_copy(update={"minutes": 20})})
    for override in ((), ("search.minutes=20",), ("search.minutes=5",)):
        with pytest.raises(ConfigError, match="20 minutes"):
            grow(Study(limited, folder), ["search.trials=+1", *override])
    extended = limited
    for text, minutes in (("30", 30), ("null", None)):
        overrides = ["search.trials=+1", f"search.minutes={text}"]
        extended = grow(Study(extended, folder), overrides)
        assert extended.search.minutes == minutes


def test_resources_may_change(folder: StudyFolder, config: StudyConfig) -> None:
    extended = grow(Study(config, folder), ["search.trials=+1", "resources.max_concurrent=2"])
    assert extended.resources.max_concurrent == 2


def test_an_extension_that_died_before_its_configuration_does_not_count(
    folder: StudyFolder, config: StudyConfig
) -> None:
    grow(Study(config, folder), ["search.trials=+50"])
    assert extensions(Study(config, folder)) == []


def test_an_extension_begun_again_after_it_died_keeps_the_earlier_choice(
    folder: StudyFolder, config: StudyConfig
) -> None:
    choose(folder, [candidate("best", 7)])
    written = folder.config_path.read_text()
    grow(Study(config, folder), ["search.trials=+50"])
    assert folder.read_json("candidates.json") is None, "the choice is open again"
    folder.config_path.write_text(written)  # as when the driver died just before
    again = grow(Study(config, folder), ["search.trials=+20"])
    (entry,) = extensions(Study(again, folder))
    assert (entry["from"], entry["to"]) == (48, 68)
    assert [c["source_trial"] for c in entry["candidates"]] == ["search-0007"]


def test_an_extended_study_says_no_more_what_it_found(
    folder: StudyFolder, config: StudyConfig
) -> None:
    folder.write_json(REGISTERED, Registration("clipfit-digits", "1", True, "it is the first"))
    (folder.path / DESCRIPTION).write_text("the best is here")
    assert folder.is_complete()
    grow(Study(config, folder), ["search.trials=+50"])
    assert folder.read_registration() is None
    assert not folder.is_complete()


def test_without_an_extension_a_choice_stays_as_it_is(
    folder: StudyFolder, config: StudyConfig
) -> None:
    chosen = [candidate("best", 7)]
    assert beside_earlier(Study(config, folder), chosen) == chosen


@pytest.fixture
def extended(folder: StudyFolder, config: StudyConfig) -> StudyConfig:
    choose(
        folder,
        [
            candidate("clipfit", 1),
            candidate("clipfit-tuned", 5),
            candidate("best", 7),
            candidate("second", 5, "clipfit-tuned"),
        ],
    )
    for label, trial, score in (("clipfit", 1, 0.5), ("clipfit-tuned", 5, 0.6), ("best", 7, 0.7)):
        confirm(folder, label, of(trial), score)
    return grow(Study(config, folder), ["search.trials=+50"])


def test_a_winner_that_stays_is_not_confirmed_again(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 5), candidate("best", 7)]
    assert beside_earlier(Study(extended, folder), chosen) == chosen


def test_a_new_winner_is_confirmed_and_the_earlier_one_keeps_its_results_under_its_own_name(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 5), candidate("best", 60),
              candidate("second", 7)]  # fmt: skip
    assert told(beside_earlier(Study(extended, folder), chosen)) == {
        "clipfit": (1, None),
        "clipfit-tuned": (5, None),
        "best": (60, None),
        "second": (7, "best-of-48"),
        "best-of-48": (7, None),
    }
    assert not (folder.path / "trials" / "confirm-best-seed1").exists()
    moved = folder.trial("confirm-best-of-48-seed2")
    assert moved.read_reports() == [{"epoch": 4, "test_score": 0.7}]
    assert {moved.read_config()[key] for key in ("label", "arm")} == {"best-of-48"}
    assert moved.read_config()["trial_id"] == "confirm-best-of-48-seed2"


def test_what_was_confirmed_under_another_name_is_not_trained_again(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 80),
              candidate("best", 80, "clipfit-tuned"), candidate("second", 5)]  # fmt: skip
    assert told(beside_earlier(Study(extended, folder), chosen)) == {
        "clipfit": (1, None),
        "clipfit-tuned": (80, None),
        "best": (80, "clipfit-tuned"),
        "second": (5, "clipfit-tuned-of-48"),
        "clipfit-tuned-of-48": (5, None),
        "best-of-48": (7, None),
    }


def test_what_stood_for_an_earlier_winner_without_a_delta_does_not_stand_for_the_new_one(
    folder: StudyFolder, config: StudyConfig
) -> None:
    choose(folder, [candidate("full", 3), candidate("best", 3, "full"),
                    candidate("best-with-delta", 2)])  # fmt: skip
    confirm(folder, "best-with-delta", of(2), 0.6)
    extended = grow(Study(config, folder), ["search.trials=+50"])
    found = beside_earlier(Study(extended, folder), [candidate("full", 3), candidate("best", 60)])
    assert told(found) == {
        **{"full": (3, None), "best": (60, None), "best-with-delta-of-48": (2, None)}
    }
    assert registrable(found) == best_of(found)
    assert folder.trial("confirm-best-with-delta-of-48-seed1").read_end()


def test_what_follows_from_the_choice_is_not_trained_again_where_it_was_tested(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    derived = candidate("best-plain", 5).model_copy(update={"source_trial": None})
    chosen = [candidate("clipfit", 1), candidate("clipfit-tuned", 80), candidate("best", 60)]
    third = candidate("third", 5)
    found = told(beside_earlier(Study(extended, folder), [*chosen, third, derived]))
    assert found["best-plain"] == (0, "clipfit-tuned-of-48")
    same = derived.model_copy(update={"same_as": "third", "settings": ANOTHER})
    found = told(beside_earlier(Study(extended, folder), [*chosen, third, same]))
    assert found["third"] == (5, "clipfit-tuned-of-48")
    assert found["best-plain"] == (0, "clipfit-tuned-of-48"), "not by way of another"


def test_choosing_again_after_a_crash_gives_the_same(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    chosen = [candidate("clipfit", 1), candidate("best", 60)]
    first = beside_earlier(Study(extended, folder), chosen)
    assert beside_earlier(Study(extended, folder), chosen) == first


@pytest.mark.parametrize("confirmed_before", [True, False])
def test_choosing_again_after_the_new_winner_was_tested_moves_none_of_its_tests(
    folder: StudyFolder, config: StudyConfig, confirmed_before: bool
) -> None:
    choose(folder, [candidate("best", 5)])
    if confirmed_before:
        confirm(folder, "best", ANOTHER, 0.7)
    extended = Study(grow(Study(config, folder), ["search.trials=+50"]), folder)
    first = beside_earlier(extended, [candidate("best", 60)])
    assert told(first) == {"best": (60, None), "best-of-48": (5, None)}
    confirm(folder, "best", of(60), 0.8)
    assert beside_earlier(extended, [candidate("best", 60)]) == first
    scores = {t.trial_id: t.read_reports()[-1]["test_score"] for t in folder.trials()}
    earlier = {f"confirm-best-of-48-seed{seed}": 0.7 for seed in (1, 2) if confirmed_before}
    assert scores == {"confirm-best-seed1": 0.8, "confirm-best-seed2": 0.8} | earlier


def test_a_second_extension_keeps_what_the_first_set_aside(
    folder: StudyFolder, extended: StudyConfig
) -> None:
    choose(folder, beside_earlier(Study(extended, folder), [candidate("best", 60)]))
    confirm(folder, "best", of(60), 0.8)
    again = grow(Study(extended, folder), ["search.trials=+2"])
    labels = told(beside_earlier(Study(again, folder), [candidate("best", 7)]))
    assert labels["best"] == (7, "best-of-48"), "an earlier winner may win again"
    assert labels["best-of-98"] == (60, None)
    assert labels["best-of-48"] == (7, None)
