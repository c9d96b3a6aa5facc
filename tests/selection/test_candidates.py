"""What is confirmed is fixed by validation, and once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.config.labels import CANDIDATE_LABELS, RANKS
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.selection.candidates import (
    choose_candidates,
    fix_candidates,
    possible_variants,
    rank_finished_trials,
    smallest,
    variants,
)
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial import TrialConfig
from study.trial.study import Candidate, Study, best_candidate, candidate_to_register
from tests.not_none import not_none
from tests.settings import with_settings

BASELINES = ("zero-shot", "clipfit")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    return folder


def add(
    folder: StudyFolder,
    score: float,
    *,
    label: str = "",
    status: Any = "finished",
    report: Mapping[str, Any] | None = None,
    **given: Any,
) -> str:
    """Write a trial that ended, with a last report."""
    number = len(list(folder.trials()))
    values: dict[str, Any] = {
        "trial_id": f"search-{number:04d}",
        "stage": "search",
        "arm": "baseline" if label in BASELINES else "search",
        "label": label or f"trial {number}",
        "number": number,
        "seed": 1,
        "subset": "vision.ln",
        "subset_key": "0",
        "trainable": 100,
        "ln_lr": (number + 1) / 100,
        "epochs": 4,
        "split_hash": "0",
    }
    config = TrialConfig.model_validate(with_settings(values | given))
    trial = folder.trial(config.trial_id)
    trial.create(config.model_dump(mode="json"))
    trial.append_report({"epoch": 3, "val_score": 1.0})
    if status == "finished":
        trial.append_report({"epoch": 4, "val_score": score, **(report or {})})
    if status is not None:
        trial.write_end(End(status, 4, 1.0, reason="boom" if status == "failed" else None))
    return config.trial_id


def add_peer(folder: StudyFolder, score: float, **given: Any) -> str:
    """Write a trial of full fine-tuning."""
    trial = folder.trial(add(folder, score, arm="full", subset="none", ln_lr=None, **given))
    config = trial.read_config()
    config["settings"]["peer"] = {"method": "full", "lr": (config["number"] + 1) / 1000}
    (trial.path / "config.json").write_text(json.dumps(config))
    return trial.trial_id


def choose(
    folder: StudyFolder, baselines: Sequence[str] = BASELINES, runners_up: int = 0
) -> list[Candidate]:
    return choose_candidates(rank_finished_trials(folder), baselines, runners_up)


def told(candidates: list[Candidate]) -> dict[str, tuple[str, str | None]]:
    """Return the origins of the candidates, without those that the winner or the folds add."""
    own = [c for c in candidates if c.label not in CANDIDATE_LABELS]
    return {c.label: (str(c.source_trial)[-1], c.same_as) for c in own}


def test_a_score_is_the_last_epochs_and_only_finished_trials_count(folder: StudyFolder) -> None:
    add(folder, 0.5)
    for status in ("stopped", "failed", None):
        add(folder, 0.9, status=status)
    add(folder, 0.9, stage="confirm")
    add(folder, 0.6)
    found = [(judged.config.number, judged.val_score) for judged in rank_finished_trials(folder)]
    assert found == [(5, 0.6), (0, 0.5)]


def test_among_equals_fewer_parameters_win_then_the_earlier_trial(folder: StudyFolder) -> None:
    add(folder, 0.5)
    add(folder, 0.5, trainable=90)
    add(folder, 0.5, trainable=90)
    assert [j.config.number for j in rank_finished_trials(folder)] == [1, 2, 0]


def test_baselines_tuned_clipfit_and_the_best_are_candidates(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot")
    add(folder, 0.4, label="clipfit")
    add(folder, 0.9)
    add(folder, 0.7, arm="clipfit-tuned")
    add(folder, 0.6)
    add(folder, 0.8)
    chosen = choose(folder, runners_up=1)
    assert told(chosen) == {
        "zero-shot": ("0", None),
        "clipfit": ("1", None),
        "clipfit-tuned": ("3", None),
        "best": ("2", None),
        "second": ("5", None),
    }


def test_a_baseline_may_win_and_is_then_trained_once(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot")
    add(folder, 0.9, label="clipfit")
    add(folder, 0.7, arm="clipfit-tuned")
    chosen = choose(folder, runners_up=1)
    assert told(chosen) == {
        "zero-shot": ("0", None),
        "clipfit": ("1", None),
        "clipfit-tuned": ("1", "clipfit"),  # the published rates are a choice of its search too
        "best": ("1", "clipfit"),
        "second": ("2", None),
    }


def test_fewer_trials_than_runners_up_are_all_candidates(folder: StudyFolder) -> None:
    add(folder, 0.5, head="linear")
    chosen = choose(folder, runners_up=len(RANKS) - 1)
    assert told(chosen) == {"best": ("0", None)}
    assert crossed(folder) is None, "there was no search for tuned CLIPFit"


def test_the_choice_is_written_once_and_kept(folder: StudyFolder) -> None:
    add(folder, 0.5)
    first = fix_candidates(Study(StudyConfig(), folder))
    add(folder, 0.9)
    assert fix_candidates(Study(StudyConfig(), folder)) == first
    assert folder.read_json("candidates.json")[0]["val_score"] == 0.5


def test_nothing_to_confirm_is_told_with_the_last_error(folder: StudyFolder) -> None:
    add(folder, 0.5, status="failed")
    with pytest.raises(StudyError, match=r"no trial of mine ran all its epochs.*boom$"):
        fix_candidates(Study(StudyConfig(), folder))
    assert folder.read_json("candidates.json") is None


def crossed(folder: StudyFolder) -> Candidate | None:
    """Tuned CLIPFit with a linear head, if it is to be tested."""
    return further(folder).get("clipfit-tuned-linear")


def test_tuned_clipfit_is_tested_with_the_linear_head_that_validation_chose(
    folder: StudyFolder,
) -> None:
    head: dict[str, Any] = {"head_lr": 0.01, "head_steps": 30}
    add(folder, 0.9)
    add(folder, 0.7, arm="clipfit-tuned", ln_lr=0.5, subset_key="clipfit")
    assert crossed(folder) is None, "no trial has a head"
    own: dict[str, Any] = {"ln_lr": 0.5, "subset_key": "clipfit", "head": "linear"}
    add(folder, 0.99, **own | {"subset_key": "another"})
    add(folder, 0.98, **own | {"ln_lr": 0.4})
    assert crossed(folder) is None, "those are other trainings"
    variant = add(folder, 0.6, arm="variant", strength=0.75, report=head, **own)
    candidate = not_none(crossed(folder))
    assert candidate.source_trial == variant
    assert candidate.val_score == 0.6
    assert candidate.same_as is None
    assert (candidate.settings.head_lr, candidate.settings.head_steps) == (
        0.01,
        30,
    )
    assert candidate.settings.strength == 0.75


def test_the_winner_is_not_tested_twice_where_it_is_tuned_clipfit_with_a_head(
    folder: StudyFolder,
) -> None:
    add(folder, 0.7, arm="clipfit-tuned", ln_lr=0.5)
    add(folder, 0.9, arm="variant", ln_lr=0.5, head="linear")
    candidate = not_none(crossed(folder))
    assert candidate.same_as == "best"


def further(folder: StudyFolder) -> dict[str, Candidate]:
    chosen = choose(folder)
    return {c.label: c for c in chosen if c.label in CANDIDATE_LABELS}


def test_the_winner_is_tested_without_its_head_and_its_strength(folder: StudyFolder) -> None:
    head = {"head_lr": 0.01, "head_steps": 30}
    add(folder, 0.9, head="linear", strength=0.75, report=head)
    found = further(folder)
    used = {label: (c.settings.head, c.settings.strength) for label, c in found.items()}
    assert used == {
        "best-plain": ("text", 1.0),
        "best-text": ("text", 0.75),
        "best-full-strength": ("linear", 1.0),
    }
    assert found["best-full-strength"].settings.head_steps == 30, "the head that validation chose"
    assert {c.same_as for c in found.values()} == {None}
    assert {c.val_score for c in found.values()} == {None}, "nothing judged them"


def test_what_the_winner_has_not_is_not_taken_away_from_it(folder: StudyFolder) -> None:
    add(folder, 0.9)
    assert {c.same_as for c in further(folder).values()} == {"best"}


def test_calibrated_stacking_of_the_winner_has_the_number_of_its_folds(folder: StudyFolder) -> None:
    add(folder, 0.9, report={"val_calibration": 1.5})
    assert further(folder)["best-calibrated"].settings.calibration == 1.5


def test_the_smallest_is_within_one_standard_error_of_the_difference_to_the_best(
    folder: StudyFolder,
) -> None:
    add(folder, 0.80, trainable=900, report={"folds": [0.7, 0.8, 0.9]})
    # Paired differences 0.02, 0.03, 0.04: a mean of 0.03, and a standard error of 0.0058.
    add(folder, 0.77, trainable=10, report={"folds": [0.68, 0.77, 0.86]})
    # -0.1, 0.0, 0.13: a mean of 0.01, and a standard error of 0.066.
    add(folder, 0.79, trainable=20, report={"folds": [0.8, 0.8, 0.77]})
    found = not_none(smallest(rank_finished_trials(folder)))
    assert found.config.trainable == 20
    assert further(folder)["smallest"].source_trial == found.config.trial_id
    add(folder, 0.795, trainable=5)  # without folds
    assert smallest(rank_finished_trials(folder)) is None, "that one may be the smallest"


def test_a_peer_may_win_and_the_best_with_a_delta_is_registered(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot")
    add(folder, 0.4, label="clipfit")
    add_peer(folder, 0.85)
    add_peer(folder, 0.9)
    add(folder, 0.7)
    add(folder, 0.8)
    chosen = choose(folder, (*BASELINES, "full"), runners_up=1)
    candidates = {c.label: c for c in chosen}
    assert told(chosen) == {
        "zero-shot": ("0", None),
        "clipfit": ("1", None),
        "full": ("3", None),
        "clipfit-tuned": ("1", "clipfit"),
        "best": ("3", "full"),
        "second": ("2", None),
    }
    assert candidates["best-with-delta"].source_trial == "search-0005"
    assert candidates["best-plain"].same_as == "full"
    assert best_candidate(chosen) == candidates["best"]
    assert candidate_to_register(chosen) == candidates["best-with-delta"]


def test_the_peer_that_validation_ranks_best_is_tested_whatever_its_rank(
    folder: StudyFolder,
) -> None:
    add(folder, 0.4, label="clipfit")
    add_peer(folder, 0.6)
    add(folder, 0.9)
    chosen = choose(folder, ("clipfit", "full"))
    assert "best-peer" not in {c.label for c in chosen}, "it is a baseline"
    variant = add_peer(folder, 0.7)
    config = folder.trial(variant).read_config() | {"arm": "variant", "label": "full-strength"}
    (folder.trial(variant).path / "config.json").write_text(json.dumps(config))
    chosen = choose(folder, ("clipfit", "full"))
    assert {c.label: c.source_trial for c in chosen}["best-peer"] == variant


@pytest.mark.parametrize("label", ["search", "baseline"])
def test_a_baseline_is_found_by_its_label_whatever_an_arm_is_called(
    folder: StudyFolder, label: str
) -> None:
    add(folder, 0.9)
    trial = add(folder, 0.4, label=label, arm="baseline")
    add(folder, 0.5, label="clipfit")
    chosen = choose(folder, (label,))
    assert chosen[0].source_trial == trial


def test_a_winner_with_a_delta_is_registered_itself(folder: StudyFolder) -> None:
    add_peer(folder, 0.7)
    add(folder, 0.8)
    chosen = choose(folder, ("full",))
    assert candidate_to_register(chosen) == best_candidate(chosen) is not None
    assert candidate_to_register(None) is None


def test_the_smallest_is_within_one_standard_error_of_a_peer_that_is_best(
    folder: StudyFolder,
) -> None:
    add_peer(folder, 0.80, trainable=900, report={"folds": [0.7, 0.8, 0.9]})
    add(folder, 0.77, trainable=10, report={"folds": [0.68, 0.77, 0.86]})  # see above
    found = not_none(smallest(rank_finished_trials(folder)))
    assert found.config.trainable == 900, "the other is further below the best than its error"


def test_requested_peers_are_judged_with_strength_and_head_too(folder: StudyFolder) -> None:
    add_peer(folder, 0.7)
    add_peer(folder, 0.9)
    config = build_config({"search": {"baselines": {"full": {"peer": "full"}}}}, "test")
    judged = rank_finished_trials(folder)
    found = variants(judged, config, strength=0.75)
    assert heads_of(found) == {"full-strength": ("text", 0.75), "full-linear": ("linear", 0.75)}
    assert {s.peer for s in found.values()} == {judged[0].settings.peer}


def heads_of(found: Mapping[str, TrialSettings]) -> dict[str, tuple[str, float]]:
    return {label: (s.head, s.strength) for label, s in found.items()}


@pytest.mark.parametrize("strength", [0.75, 1.0])
@pytest.mark.parametrize("heads", [["text"], ["linear"], ["text", "linear"]])
def test_what_may_be_judged_further_holds_all_that_is(
    folder: StudyFolder, strength: float, heads: list[str]
) -> None:
    add(folder, 0.2, label="zero-shot", epochs=0, subset="none", ln_lr=None)
    add(folder, 0.4, label="clipfit")
    add(folder, 0.7, arm="clipfit-tuned", ln_lr=0.07)
    add_peer(folder, 0.9)
    search = {"baselines": {"full": {"peer": "full"}}, "space": {"heads": heads}}
    config = build_config({"search": search}, "test")
    possible = possible_variants(config, strength)
    assert variants(rank_finished_trials(folder), config, strength).keys() <= {*possible}
    assert len(possible) == len({*possible})
    expected = {"linear"} if "linear" in heads else set()
    if "text" in heads and strength != 1.0:
        expected.add("strength")
    for label in ("full", "clipfit", "clipfit-tuned"):
        found = {ending for ending in ("strength", "linear") if f"{label}-{ending}" in possible}
        assert found == expected
    assert not any(label.startswith("zero-shot") for label in possible)


def test_what_is_judged_plainly_is_judged_with_strength_and_head_too(folder: StudyFolder) -> None:
    add(folder, 0.2, label="zero-shot", epochs=0, subset="none", ln_lr=None)
    add(folder, 0.4, label="clipfit")
    add(folder, 0.7, arm="clipfit-tuned")
    add(folder, 0.9)
    config, judged = build_config({}, "test"), rank_finished_trials(folder)
    found = variants(judged, config, strength=0.75)
    assert heads_of(found) == {
        "clipfit-strength": ("text", 0.75),
        "clipfit-linear": ("linear", 0.75),
        "clipfit-tuned-strength": ("text", 0.75),
        "clipfit-tuned-linear": ("linear", 0.75),
    }
    assert found["clipfit-tuned-linear"].rates == {"ln": 0.03}
    linear = {"clipfit-linear", "clipfit-tuned-linear"}
    assert variants(judged, config, strength=1.0).keys() == linear
    add(folder, 0.8, arm="variant", ln_lr=0.03, head="linear", strength=0.75)
    again = variants(rank_finished_trials(folder), config, strength=0.75)
    assert "clipfit-tuned-linear" not in again, "it was judged already"
