"""A group and its Optuna study: told of every outcome, never proposing the same twice."""

from pathlib import Path

import pytest
from optuna.trial import TrialState
from study.search.optuna_group import Outcome, Recorded

from study.config.trial_settings import TrialSettings
from study.search import samplers
from study.search.samplers import Sampler
from tests.settings import settings
from tests.small_trials import trial

from .conftest import CLIPFIT, ask, search_group

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def test_the_trials_of_an_group_have_the_ids_of_the_report(journal: Path):
    group = search_group(journal)
    first, second = ask(group)[0], ask(group)[0]
    group.name_trial(first, "search-0007")
    group.name_trial(second, "search-0009")
    group.tell("search-0007", Outcome(0.5, COMPLETE))
    named = [trial.user_attrs for trial in search_group(journal).trials]
    assert named == [{"trial": "search-0007"}, {"trial": "search-0009"}]


def test_a_closed_or_unknown_proposal_stays_as_it_is_and_an_epoch_keeps_its_first_score(
    journal: Path,
):
    group = search_group(journal)
    proposed, _ = ask(group)
    group.name_trial(proposed, "own")
    group.report("own", 1, 0.4)
    group.report("own", 1, 0.6)
    group.tell("own", Outcome(0.4, COMPLETE))
    for again in (group, search_group(journal)):
        for of in ("own", "another"):  # the journal may have been lost
            again.tell(of, Outcome(0.9, COMPLETE))
            again.tell(of, Outcome(None, FAIL))
            again.report(of, 2, 0.9)
    (trial,) = group.trials
    assert (trial.state, trial.value, trial.intermediate_values) == (COMPLETE, 0.4, {1: 0.4})


@pytest.mark.parametrize("sampler", [samplers.tpe, samplers.random])
def test_a_reopened_journal_goes_on_as_if_never_closed(tmp_path: Path, sampler: Sampler):
    def run(journal: Path, *, reopen: bool) -> list[TrialSettings]:
        proposals = []
        group = search_group(journal, sampler=sampler)
        for turn in range(13):  # TPE samples at random up to the tenth
            if reopen:
                group = search_group(journal, sampler=sampler)
                group.started = turn  # as the ledger tells
            proposed, proposal = ask(group)
            proposals.append(proposal)
            group.name_trial(proposed, str(turn))
            group.report(str(turn), 1, 0.1)
            state = PRUNED if turn % 3 == 0 else COMPLETE
            group.tell(str(turn), Outcome(0.3 + proposal.rates.get("ln", 0), state))
        return proposals

    assert run(tmp_path / "one", reopen=False) == run(tmp_path / "two", reopen=True)


def test_seed_and_group_decide_what_is_proposed_whatever_else_is_in_the_journal(
    tmp_path: Path,
):
    _, first = ask(search_group(tmp_path / "a"))
    assert ask(search_group(tmp_path / "b"))[1] == first
    assert ask(search_group(tmp_path / "c", seed=2))[1] != first
    other = search_group(tmp_path / "b", "clipfit-tuned")
    proposed, proposal = ask(other)
    assert (proposed.number, len(other.trials)) == (0, 1)
    assert proposal != first


def test_proposals_whose_trial_was_never_recorded_are_failed_and_made_again(journal: Path):
    group = search_group(journal)
    (running, first), (done, second), (_, lost) = ask(group), ask(group), ask(group)
    group.name_trial(running, "running")
    group.name_trial(done, "done")
    group.tell("done", Outcome(0.5, COMPLETE))
    later = search_group(journal)
    later.started = 2  # as the study's folder says
    later.restore([Recorded("running", first, {}), Recorded("done", second, {})])
    later.fail_orphans()
    again, proposal = ask(later)
    assert (again.number, proposal) == (3, lost)
    later.tell("running", Outcome(0.1, PRUNED))
    assert [t.state for t in later.trials] == [PRUNED, COMPLETE, FAIL, TrialState.RUNNING]


def test_a_baseline_is_learned_once_where_the_space_can_express_it(journal: Path):
    clipfit = trial().model_copy(update={"settings": settings(CLIPFIT, 0.01, 0.02, 2.0)})
    foreign = clipfit.model_copy(update={"settings": settings("text.bias", 0.9), "label": "other"})
    failed = clipfit.model_copy(update={"label": "failed"})
    for group in (search_group(journal), search_group(journal)):
        group.add_baseline(clipfit, Outcome(0.6, COMPLETE))
        group.add_baseline(foreign, Outcome(0.6, COMPLETE))
        group.add_baseline(failed, Outcome(0.6, FAIL))
    (known,) = search_group(journal).trials
    assert known.value == 0.6
    assert known.user_attrs == {"label": "clipfit", "trial": "search-0001"}
    rates = [known.params[name] for name in ("bias_lr", "ln_lr", "distill_weight")]
    assert rates == [0.01, 0.02, 2.0]
