"""An arm and its Optuna study: told of every outcome, never proposing the same twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search import optuna_arm
from study.search.optuna_arm import Arm, Outcome, open_arm
from study.search.samplers import sampler_named
from study.search.space import OpenSpace, RateSpace
from tests.settings import settings

DEPTHS = Depths(text=2, vision=3)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL

MakeArm = Callable[..., Arm]


def unknown(proposal: TrialSettings) -> None:
    """Nothing was tried before."""


@pytest.fixture
def open_again(tmp_path: Path) -> MakeArm:
    """Open the arm of one journal, as each driver of a study does."""

    def make(
        name: str = "search",
        sampler: str = "tpe",
        seed: int = 1,
        journal: str = "optuna.journal",
        space: OpenSpace | RateSpace | None = None,
    ) -> Arm:
        space = space or OpenSpace(SpaceConfig(), DEPTHS)
        own = sampler_named(sampler)
        return open_arm(tmp_path / journal, name, budget=9, space=space, sampler=own, seed=seed)

    return make


def ask(arm: Arm) -> tuple[int, TrialSettings]:
    asked = arm.ask(unknown)
    assert asked is not None
    return asked


def test_the_values_of_an_arm_are_named_and_its_trials_have_the_ids_of_the_report(
    open_again: MakeArm,
) -> None:
    arm = open_again()
    first, second = ask(arm)[0], ask(arm)[0]
    arm.name_trial(first, "search-0007")
    arm.tell(first, Outcome(0.5, COMPLETE))
    arm = open_again()
    for trial_id in ("search-0009", "search-0010"):  # a resumed trial is named again
        arm.name_trial(second, trial_id)
        arm.name_trial(first, trial_id)
    assert arm.study.metric_names == ["val_score"]
    named = [trial.user_attrs for trial in open_again().study.trials]
    assert named == [{"trial": "search-0007"}, {"trial": "search-0009"}]


def test_a_stopped_trial_is_pruned_with_its_intermediate_values(open_again: MakeArm) -> None:
    arm = open_again()
    number, _ = ask(arm)
    for epoch, score in ((1, 0.2), (2, 0.3), (3, 0.25)):
        arm.report(number, epoch, score)
    arm.tell(number, Outcome(0.25, PRUNED))
    (trial,) = open_again().study.trials
    assert trial.state is PRUNED
    assert trial.intermediate_values == {1: 0.2, 2: 0.3, 3: 0.25}


def test_a_repeated_report_keeps_the_first_value(open_again: MakeArm) -> None:
    number, _ = ask(open_again())
    arm = open_again()
    arm.report(number, 1, 0.4)
    arm.report(number, 1, 0.6)
    assert arm.study.trials[0].intermediate_values == {1: 0.4}


def test_closing_a_proposal_again_changes_nothing(open_again: MakeArm) -> None:
    arm = open_again()
    number, _ = ask(arm)
    arm.tell(number, Outcome(0.4, COMPLETE))
    for again in (arm, open_again()):
        again.tell(number, Outcome(0.9, COMPLETE))
        again.tell(number, Outcome(None, FAIL))
        again.report(number, 7, 0.9)
    (trial,) = arm.study.trials
    assert (trial.state, trial.value, trial.intermediate_values) == (COMPLETE, 0.4, {})


def test_a_proposal_that_was_tried_is_told_its_outcome_and_another_is_asked_for(
    open_again: MakeArm,
) -> None:
    arm = open_again(sampler="random")
    seen: list[TrialSettings] = []

    def known(proposal: TrialSettings) -> Outcome | None:
        seen.append(proposal)
        return [Outcome(0.7, COMPLETE), Outcome(0.1, PRUNED), None][len(seen) - 1]

    asked = arm.ask(known)
    assert asked == (2, seen[2])
    assert [trial.state for trial in arm.study.trials] == [COMPLETE, FAIL, TrialState.RUNNING]
    assert arm.study.trials[0].value == 0.7


def test_a_space_without_anything_new_ends(
    open_again: MakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_arm, "ASKS_BEFORE_GIVING_UP", 5)
    arm = open_again(sampler="random")
    assert arm.ask(lambda _: Outcome(0.5, COMPLETE)) is None
    assert [trial.state for trial in arm.study.trials] == [COMPLETE] * 5


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_reopened_journal_goes_on_as_if_never_closed(open_again: MakeArm, sampler: str) -> None:
    def run(journal: str, *, reopen: bool) -> list[TrialSettings]:
        proposals = []
        arm = open_again(sampler=sampler, journal=journal)
        for turn in range(13):  # TPE samples at random up to the tenth
            if reopen:
                arm = open_again(sampler=sampler, journal=journal)
                arm.started = turn  # as the ledger tells
            number, proposal = ask(arm)
            proposals.append(proposal)
            arm.report(number, 1, 0.1)
            state = PRUNED if turn % 3 == 0 else COMPLETE
            arm.tell(number, Outcome(0.3 + proposal.rates.get("ln", 0), state))
        return proposals

    assert run("one", reopen=False) == run("two", reopen=True)


def test_seed_and_arm_decide_what_is_proposed(open_again: MakeArm) -> None:
    first = ask(open_again(journal="a"))
    assert ask(open_again(journal="b")) == first
    assert ask(open_again(journal="c", seed=2)) != first
    assert ask(open_again(journal="d", name="other")) != first


def test_two_arms_share_a_journal(open_again: MakeArm) -> None:
    first, second = open_again("search"), open_again("clipfit-tuned")
    ask(first)
    assert ask(second)[0] == 0
    assert len(first.study.trials) == len(second.study.trials) == 1


def test_proposals_whose_trial_was_never_recorded_are_failed(open_again: MakeArm) -> None:
    arm = open_again()
    running, orphan, done = ask(arm)[0], ask(arm)[0], ask(arm)[0]
    arm.tell(done, Outcome(0.5, COMPLETE))
    later = open_again()
    later.fail_orphans({running, done})
    states = [trial.state for trial in later.study.trials]
    assert [states[n] for n in (running, orphan, done)] == [TrialState.RUNNING, FAIL, COMPLETE]
    later.tell(running, Outcome(0.1, PRUNED))
    assert later.study.trials[running].state is PRUNED


def test_a_baseline_is_learned_once_where_the_space_can_express_it(open_again: MakeArm) -> None:
    clipfit = settings(CLIPFIT, 0.01, 0.02, 2.0)
    for arm in (open_again(), open_again()):
        arm.add_baseline(clipfit, Outcome(0.6, COMPLETE), "clipfit", "search-0001")
        arm.add_baseline(
            settings("text.bias", 0.9), Outcome(0.6, COMPLETE), "out of range", "search-0002"
        )
        arm.add_baseline(clipfit, Outcome(0.6, FAIL), "failed", "search-0003")
    (trial,) = open_again().study.trials
    assert trial.value == 0.6
    assert trial.user_attrs == {"label": "clipfit", "trial": "search-0001"}
    rates = open_again("tuned", space=RateSpace(SpaceConfig(), DEPTHS, CLIPFIT))
    rates.add_baseline(clipfit, Outcome(0.6, COMPLETE), "clipfit", "search-0001")
    assert rates.study.trials[0].params == {
        "bias_lr": 0.01, "ln_lr": 0.02, "distill_weight": 2.0
    }  # fmt: skip


def test_numbers_stay_right_beside_learned_baselines(open_again: MakeArm) -> None:
    arm = open_again()
    first, _ = ask(arm)
    arm.add_baseline(
        settings(CLIPFIT, 0.01, 0.02, 2.0), Outcome(0.6, COMPLETE), "clipfit", "search-0001"
    )
    second, _ = ask(arm)
    arm = open_again()
    arm.tell(first, Outcome(0.1, COMPLETE))
    arm.tell(second, Outcome(0.2, COMPLETE))
    assert [trial.value for trial in arm.study.trials] == [0.1, 0.6, 0.2]


def test_a_lock_that_a_killed_driver_left_is_no_obstacle(
    open_again: MakeArm, tmp_path: Path
) -> None:
    ask(open_again())
    (tmp_path / "optuna.journal.lock").symlink_to("runs/mine/optuna.journal")
    assert ask(open_again())[0] == 1


def test_a_driver_that_died_before_it_recorded_a_proposal_makes_it_again(
    open_again: MakeArm,
) -> None:
    arm = open_again(sampler="random")
    _, first = ask(arm)
    _, lost = ask(arm)
    later = open_again(sampler="random")
    later.started = 1  # as the ledger tells
    later.fail_orphans({0})
    assert ask(later) == (2, lost)
    assert first != lost


def test_a_journal_that_was_lost_costs_the_history_and_not_the_study(open_again: MakeArm) -> None:
    arm = open_again()
    arm.report(7, 1, 0.5)
    arm.tell(7, Outcome(0.5, COMPLETE))
    assert ask(arm)[0] == 0
