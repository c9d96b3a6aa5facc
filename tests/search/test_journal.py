"""A journal that was cut, flipped or lost is found out by the ledger, and made again from it."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.search import samplers
from study.search.optuna_arm import (
    Arm,
    DamagedJournalError,
    Outcome,
    Recorded,
    open_arm,
    rename_damaged,
)
from study.search.space import OpenSpace

ORPHAN = 3
"""A proposal of a driver that died before it recorded the trial."""


def open_again(path: Path) -> Arm:
    space = OpenSpace(SpaceConfig(), Depths(text=2, vision=3))
    return open_arm(path, "search", budget=9, space=space, sampler=samplers.random, seed=1)


def is_found_out(path: Path, recorded: list[Recorded]) -> bool:
    try:
        return not open_again(path).agrees_with(recorded)
    except DamagedJournalError:
        return True


def ask(arm: Arm) -> tuple[int, TrialSettings]:
    asked = arm.ask(lambda _: None)
    assert asked is not None
    return asked


def outcome(recorded: Recorded) -> Outcome:
    last = max(recorded.scores)
    state = TrialState.COMPLETE if last == 2 else TrialState.PRUNED
    return Outcome(recorded.scores[last], state)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


@pytest.fixture
def recorded(journal: Path) -> list[Recorded]:
    """What the ledger holds of the trials of a journal: some ended, some stopped, one lost."""
    arm = open_again(journal)
    found = []
    for turn in range(6):
        number, proposal = ask(arm)
        if number == ORPHAN:
            continue
        scores = {epoch: 0.5 + turn / 50 + epoch / 7 for epoch in range(1, 2 + turn % 2)}
        found.append(Recorded(number, f"search-{number:04d}", proposal, scores))
        for epoch, score in scores.items():
            arm.report(number, epoch, score)
        arm.tell(number, outcome(found[-1]))
    return found


def test_a_whole_journal_agrees_with_the_ledger(journal: Path, recorded: list[Recorded]) -> None:
    assert open_again(journal).agrees_with(recorded)


def test_a_lost_journal_is_made_again_and_goes_on_as_it_would_have(
    journal: Path, recorded: list[Recorded]
) -> None:
    arm = open_again(journal)
    arm.started = len(recorded)
    expected = ask(arm)[1]
    journal.unlink()
    arm = open_again(journal)
    assert not arm.agrees_with(recorded)
    arm.restore(recorded)
    for trial in recorded:
        for epoch, score in trial.scores.items():
            arm.report(trial.number, epoch, score)
        arm.tell(trial.number, outcome(trial))
    again = open_again(journal)
    assert again.agrees_with(recorded)
    assert again.study.trials[ORPHAN].state is TrialState.FAIL
    for trial in recorded:
        assert again.study.trials[trial.number].state is outcome(trial).state
        assert again.study.trials[trial.number].value == outcome(trial).score
        assert again.study.trials[trial.number].user_attrs == {"trial": trial.trial_id}
    again.started = len(recorded)
    assert ask(again) == (6, expected)


def test_a_last_line_that_was_cut_is_dropped(journal: Path, recorded: list[Recorded]) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[0][:-5])
    assert open_again(journal).agrees_with(recorded)
    assert journal.read_bytes().startswith(whole)
    assert not journal.with_name("optuna.journal.damaged").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"\xff" * 500,
        lambda whole: b"\n".join(reversed(whole.splitlines())) + b"\n",
        lambda whole: whole.replace(b'"search"', b'"seerch"'),
    ],
    ids=["cut", "noise", "out of order", "another name"],
)
def test_damage_is_found_out(
    journal: Path, recorded: list[Recorded], damage: Callable[[bytes], bytes]
) -> None:
    journal.write_bytes(damage(journal.read_bytes()))
    assert is_found_out(journal, recorded)


def test_what_cannot_be_read_is_kept_beside_and_named(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal.write_bytes(b"\xff" * 500 + b"\n")
    with pytest.raises(DamagedJournalError) as raised:
        open_again(journal)
    rename_damaged(journal, str(raised.value))
    assert f"{journal} is damaged" in caplog.text
    assert journal.with_name("optuna.journal.damaged").read_bytes() == b"\xff" * 500 + b"\n"


def test_a_flipped_bit_is_found_out_or_changes_nothing_that_was_proposed_or_scored(
    journal: Path, recorded: list[Recorded]
) -> None:
    whole = journal.read_bytes()
    chance = random.Random(7)
    found_out = 0
    for _ in range(300):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        journal.write_bytes(spoiled)
        if is_found_out(journal, recorded):
            found_out += 1
            continue
        arm = open_again(journal)
        for trial in recorded:
            told = arm.study.trials[trial.number]
            assert told.value in (outcome(trial).score, None)
    assert found_out > 100


def test_a_warm_start_from_a_damaged_journal_is_told(journal: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.journal"
    other.write_bytes(b"\xff\n")
    with pytest.raises(StudyError, match=r"other\.journal is damaged"):
        open_again(journal).enqueue_best_of(other)
    assert other.read_bytes() == b"\xff\n"
