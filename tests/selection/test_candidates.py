"""What is confirmed is fixed by validation, and once."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from study.config.labels import CANDIDATE_LABELS, RANKS
from study.config.loading import build_config
from study.errors import StudyError
from study.selection.candidates import (
    choose_candidates,
    fix_candidates,
    possible_variants,
    variants,
)
from study.selection.choice import final_candidate
from study.selection.ranking import rank_finished_trials
from study.storage.ledger_files import JsonObject
from study.trial.study import Candidate, best_candidate
from tests.case_tables import from_table
from tests.not_none import not_none
from tests.selection.conftest import BASELINES, add
from tests.written_study import Written


def add_peer(written: Written, score: float, **given: Any) -> str:
    """Write a trial of full fine-tuning."""
    peer = {"method": "full", "lr": score / 100}
    own = {"arm": "full", "subset": "none", "ln_lr": None, "peer": peer, **given}
    return add(written, score, **own)


def choose(
    written: Written, baselines: Sequence[str] = BASELINES, runners_up: int = 0
) -> list[Candidate]:
    return choose_candidates(rank_finished_trials(written.folder), baselines, runners_up)


def told(candidates: list[Candidate]) -> dict[str, int | str]:
    """What each label stands for: another label, or its trial; without what the winner adds."""
    own = [c for c in candidates if c.label not in CANDIDATE_LABELS]
    return {c.label: c.same_as or int(str(c.source_trial)[-4:]) for c in own}


def test_baselines_tuned_clipfit_and_the_best_are_candidates(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.4, label="clipfit")
    add(written, 0.9)
    add(written, 0.7, arm="clipfit-tuned")
    add(written, 0.6)
    add(written, 0.8)
    assert told(choose(written, runners_up=1)) == {
        "zero-shot": 0,
        "clipfit": 1,
        "clipfit-tuned": 3,
        "best": 2,
        "second": 5,
    }


def test_a_baseline_may_win_and_is_then_trained_once(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.9, label="clipfit")
    add(written, 0.7, arm="clipfit-tuned")
    assert told(choose(written, runners_up=1)) == {
        "zero-shot": 0,
        "clipfit": 1,
        "clipfit-tuned": "clipfit",  # the published rates are a choice of its search too
        "best": "clipfit",
        "second": 2,
    }


def test_fewer_trials_than_runners_up_are_all_candidates(written: Written):
    add(written, 0.5, head="linear")
    assert told(choose(written, runners_up=len(RANKS) - 1)) == {"best": 0}
    assert crossed(written) is None, "there was no search for tuned CLIPFit"


def test_the_choice_is_written_once_and_kept(written: Written):
    add(written, 0.5)
    first = fix_candidates(written.study)
    add(written, 0.9)
    assert fix_candidates(written.study) == first
    assert written.folder.read_json("candidates.json")[0]["val_score"] == 0.5


def test_nothing_to_confirm_is_told_with_the_last_error(written: Written):
    add(written, 0.5, status="failed")
    with pytest.raises(StudyError, match=r"no trial of mine ran all its epochs.*boom$"):
        fix_candidates(written.study)
    assert written.folder.read_json("candidates.json") is None


def crossed(written: Written) -> Candidate | None:
    """Tuned CLIPFit with a linear head, if it is to be tested."""
    return further(written).get("clipfit-tuned-linear")


def test_tuned_clipfit_is_tested_with_the_linear_head_that_validation_chose(
    written: Written,
):
    head: JsonObject = {"head_lr": 0.01, "head_steps": 30}
    add(written, 0.9)
    add(written, 0.7, arm="clipfit-tuned", ln_lr=0.5, subset_key="clipfit")
    assert crossed(written) is None, "no trial has a head"
    own: JsonObject = {"ln_lr": 0.5, "subset_key": "clipfit", "head": "linear"}
    add(written, 0.99, **own | {"subset_key": "another"})
    add(written, 0.98, **own | {"ln_lr": 0.4})
    assert crossed(written) is None, "those are other trainings"
    variant = add(written, 0.6, arm="variant", strength=0.75, report=head, **own)
    candidate = not_none(crossed(written))
    assert (candidate.source_trial, candidate.val_score) == (variant, 0.6)
    assert candidate.same_as is None
    used = candidate.settings
    assert (used.head_lr, used.head_steps, used.strength) == (0.01, 30, 0.75)
    add(written, 1.0, arm="variant", **own)
    assert not_none(crossed(written)).same_as == "best", "it is not tested twice"


def further(written: Written) -> dict[str, Candidate]:
    chosen = choose(written)
    return {c.label: c for c in chosen if c.label in CANDIDATE_LABELS}


def test_folds_calibrate_the_winner(written: Written):
    add(written, 0.9, report={"val_calibration": 1.5})
    assert further(written)["best-calibrated"].settings.calibration == 1.5


def test_a_peer_may_win_and_the_best_with_a_delta_is_registered(written: Written):
    add(written, 0.2, label="zero-shot")
    add(written, 0.4, label="clipfit")
    add_peer(written, 0.85)
    add_peer(written, 0.9)
    add(written, 0.7)
    add(written, 0.8)
    chosen = choose(written, (*BASELINES, "full"), runners_up=1)
    candidates = {c.label: c for c in chosen}
    assert told(chosen) == {
        "zero-shot": 0,
        "clipfit": 1,
        "full": 3,
        "clipfit-tuned": "clipfit",
        "best": "full",
        "second": 2,
    }
    assert candidates["best-with-delta"].source_trial == "search-0005"
    assert best_candidate(chosen) == candidates["best"]
    assert final_candidate(chosen) == candidates["best-with-delta"]


def test_the_peer_that_validation_ranks_best_is_tested_whatever_its_rank(
    written: Written,
):
    add(written, 0.4, label="clipfit")
    add_peer(written, 0.6)
    add(written, 0.9)
    chosen = choose(written, ("clipfit", "full"))
    assert "best-peer" not in {c.label for c in chosen}, "it is a baseline"
    variant = add_peer(written, 0.7, arm="variant", label="full-strength")
    chosen = choose(written, ("clipfit", "full"))
    assert {c.label: c.source_trial for c in chosen}["best-peer"] == variant


@pytest.mark.parametrize("label", ["search", "baseline"])
def test_a_baseline_is_found_by_its_label_whatever_an_arm_is_called(written: Written, label: str):
    add(written, 0.9)
    trial = add(written, 0.4, label=label, arm="baseline")
    add(written, 0.5, label="clipfit")
    assert choose(written, (label,))[0].source_trial == trial


@from_table
def test_what_is_judged_plainly_is_judged_with_strength_and_head_too(
    written: Written, heads: list[str], strength: float, endings: list[str]
):
    add(written, 0.2, label="zero-shot", epochs=0, subset="none", ln_lr=None)
    add(written, 0.4, label="clipfit")
    add(written, 0.7, arm="clipfit-tuned", ln_lr=0.03)
    add_peer(written, 0.8)
    add_peer(written, 0.9)
    search = {"baselines": {"full": {"peer": "full"}}, "space": {"heads": heads}}
    config = build_config({"search": search}, "test")
    judged = rank_finished_trials(written.folder)
    found = variants(judged, config, strength)
    plain = {"clipfit": judged[3], "clipfit-tuned": judged[2], "full": judged[0]}
    heads_of = {"strength": "text", "linear": "linear"}
    expected = {}
    for (label, trial), ending in itertools.product(plain.items(), endings):
        change = {"head": heads_of[ending], "strength": strength}
        expected[f"{label}-{ending}"] = trial.settings.model_copy(update=change)
    assert found == expected
    possible = possible_variants(config, strength)
    known = [name for name in possible if name.startswith(("zero-shot", *plain))]
    assert sorted(known) == sorted(expected)


def test_what_was_judged_already_is_not_judged_again(written: Written):
    add(written, 0.7, arm="clipfit-tuned", ln_lr=0.03)
    add(written, 0.8, arm="variant", ln_lr=0.03, head="linear", strength=0.75)
    found = variants(rank_finished_trials(written.folder), build_config({}, "test"), strength=0.75)
    assert [*found] == ["clipfit-tuned-strength"]
