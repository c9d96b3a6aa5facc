"""A journal that was cut, flipped or lost is found out by the ledger, and made again from it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from study.search.optuna_group import DamagedJournalError, Group, Outcome, Recorded, rename_damaged

from .conftest import ask, search_group

ORPHAN = 3
"""A proposal of a driver that died before it recorded the trial."""


def is_found_out(path: Path, recorded: list[Recorded]) -> bool:
    try:
        return not search_group(path).agrees_with(recorded)
    except DamagedJournalError:
        return True


def told(group: Group) -> list[Any]:
    """Return what a journal has of the trials that were recorded."""
    return [
        (t.state, t.value, t.intermediate_values, t.user_attrs)
        for t in group.trials
        if t.user_attrs
    ]


@pytest.fixture
def recorded(journal: Path) -> list[Recorded]:
    """What the ledger holds of a journal: trials that ended or were stopped, one lost, one open."""
    group = search_group(journal)
    records = []
    for turn in range(6):
        proposed, proposal = ask(group)
        if proposed.number == ORPHAN:
            continue
        last = 1 + turn % 2
        scores = {epoch: 0.5 + turn / 50 + epoch / 7 for epoch in range(1, last + 1)}
        state = TrialState.COMPLETE if last == 2 else TrialState.PRUNED
        outcome = None
        if turn < 5:  # the last goes on
            outcome = Outcome(scores[last], state, last)
        record = Recorded(f"search-{proposed.number:04d}", proposal, scores, outcome)
        records.append(record)
        group.name_trial(proposed, record.trial_id)
        for epoch, score in scores.items():
            group.report(record.trial_id, epoch, score)
        if outcome is not None:
            group.tell(record.trial_id, outcome)
    return records


def test_a_lost_journal_is_made_again_and_goes_on_as_it_would_have(
    journal: Path, recorded: list[Recorded]
):
    group = search_group(journal)
    before = told(group)
    group.started = len(recorded)
    _, expected = ask(group)
    journal.unlink()
    group = search_group(journal)
    assert not group.agrees_with(recorded)
    group.restore(recorded)
    again = search_group(journal)
    assert again.agrees_with(recorded)
    assert told(again) == before
    again.started = len(recorded)
    assert ask(again)[1] == expected


def test_a_last_line_that_was_cut_is_dropped(journal: Path, recorded: list[Recorded]):
    assert search_group(journal).agrees_with(recorded)
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[0][:-5])
    assert search_group(journal).agrees_with(recorded)
    assert journal.read_bytes().startswith(whole)
    assert not journal.with_name("optuna.journal.damaged").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"\n".join(reversed(whole.splitlines())) + b"\n",
        lambda whole: whole.replace(b'"search"', b'"seerch"'),
    ],
    ids=["cut", "out of order", "another name"],
)
def test_damage_is_found_out(
    journal: Path, recorded: list[Recorded], damage: Callable[[bytes], bytes]
):
    journal.write_bytes(damage(journal.read_bytes()))
    assert is_found_out(journal, recorded)


def test_what_cannot_be_read_is_kept_beside_and_named(
    journal: Path, caplog: pytest.LogCaptureFixture
):
    journal.write_bytes(b"\xff" * 500 + b"\n")
    with pytest.raises(DamagedJournalError) as raised:
        search_group(journal)
    rename_damaged(journal, str(raised.value))
    assert f"{journal} is damaged" in caplog.text
    assert journal.with_name("optuna.journal.damaged").read_bytes() == b"\xff" * 500 + b"\n"


def test_a_flipped_bit_is_found_out_or_changes_nothing_that_was_proposed_or_scored(
    journal: Path, recorded: list[Recorded]
):
    whole = journal.read_bytes()
    chance = random.Random(7)
    found_out = 0
    for _ in range(150):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        journal.write_bytes(spoiled)
        if is_found_out(journal, recorded):
            found_out += 1
            continue
        trials = {trial.user_attrs.get("trial"): trial for trial in search_group(journal).trials}
        for record in recorded:
            last = record.scores[max(record.scores)]
            assert trials[record.trial_id].value in (last, None)
    assert found_out > 50
