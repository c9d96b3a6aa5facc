"""Which trials are stopped early, also where a driver died between a report and its decision."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from study.config.search_section import AshaConfig
from study.search.recorded_trials import RecordedTrial
from study.search.scheduler import StudyScheduler
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import TrialConfig
from tests.settings import clipfit_trial

EPOCHS, RUNGS = 9, (3, 9)


def config(number: int, group: str) -> TrialConfig:
    name = f"search-{number:04d}"
    return clipfit_trial(trial_id=name, number=number, group=group, epochs=EPOCHS)


def recorded(
    own: TrialConfig,
    reports: Sequence[tuple[float, int, float]],
    end: End | None = None,
    before: End | None = None,
) -> RecordedTrial:
    """A trial with its reports, each the time, the epoch and the score, which most epochs lack."""
    lines = []
    for time, epoch, score in reports:
        scored = {"val_score": score} if epoch in RUNGS else {}
        lines.append({"epoch": epoch, "ended_at": time, **scored})
    return RecordedTrial(StudyFolder(Path()).trial(own.trial_id), own, end, lines, before)


def stops(scheduler: StudyScheduler, own: TrialConfig, epoch: int, score: float) -> bool:
    return scheduler.stops(own, {"epoch": epoch, "score": score if epoch in RUNGS else None})


class Search:
    """Trials of three groups, one after the other, by a driver that may die after any report."""

    def __init__(self, seed: int):
        chance = Random(seed)
        self.trials = [config(n, ("baseline", "a", "b", "a")[n % 4]) for n in range(16)]
        self.scores = {own.number: chance.random() for own in self.trials}

    def run(self, dies_after: int | None = None) -> dict[int, int]:
        """The last epoch of each trial."""
        scheduler = StudyScheduler(AshaConfig(), EPOCHS)
        reports: dict[int, list[tuple[float, int, float]]] = {n: [] for n in self.scores}
        ends: dict[int, int] = {}
        turn = 0
        for own in self.trials:
            number = own.number
            while number not in ends:
                epoch = 1 + len(reports[number])
                reports[number].append((float(turn), epoch, self.scores[number]))
                turn += 1
                if turn == dies_after:
                    if epoch == EPOCHS:  # it is closed as the study's folder is read
                        ends[number] = epoch
                    scheduler = self._goes_on(reports, ends)
                elif stops(scheduler, own, epoch, self.scores[number]) or epoch == EPOCHS:
                    ends[number] = epoch
        self.turns = turn
        return ends

    def _goes_on(self, reports: Any, ends: dict[int, int]) -> StudyScheduler:
        held = []
        for own in self.trials:
            last = ends.get(own.number)
            end = None
            if last:
                end = End("finished" if last == EPOCHS else "stopped", last, 1.0)
            if reports[own.number]:
                held.append(recorded(own, reports[own.number], end))
        scheduler = StudyScheduler(AshaConfig(), EPOCHS)
        for one in scheduler.replay(reversed(held)):
            ends[one.config.number] = one.reports[-1]["epoch"]
        return scheduler


def test_wherever_a_driver_dies_the_same_trials_are_stopped():
    search = Search(1)
    undisturbed = search.run()
    assert set(undisturbed.values()) == {3, EPOCHS}
    for dies_after in range(1, search.turns + 1):
        assert search.run(dies_after) == undisturbed


HALVED, OVER = "successive halving at epoch", "time limit of the search at epoch"


# Why a trial stops beside others of the group `a` in time, and when the search's time is over.
@pytest.mark.parametrize(
    "group, epoch, in_time, after_it",
    [
        ("a", 3, f"{HALVED} 3", f"{HALVED} 3"),
        ("a", 2, None, f"{OVER} 2"),  # between rungs
        ("b", 3, None, f"{OVER} 3"),
        ("baseline", 3, None, None),
    ],
)
def test_trials_are_compared_within_their_group_and_baselines_are_never_stopped(
    group: str, epoch: int, in_time: str | None, after_it: str | None
):
    good = [recorded(config(n, "a"), [(n, 3, 0.9)]) for n in range(4)]
    weak = config(5, group)
    for asha, deadline, reason in (
        (AshaConfig(), None, in_time),
        (AshaConfig(), 0.0, after_it),
        (None, None, None),
    ):
        scheduler = StudyScheduler(asha, EPOCHS, deadline=deadline)
        assert scheduler.replay(good) == [], "none is below the others"
        assert stops(scheduler, weak, epoch, 0.1) == (reason is not None)
        assert scheduler.reasons.get(weak.trial_id) == reason


def test_a_reopened_trial_ends_as_it_had_and_its_scores_count():
    earlier = End("stopped", 3, 1.0, reason="as before")
    good = [recorded(config(n, "a"), [(n, 3, 0.9)], earlier) for n in range(4)]
    weak, strong = config(5, "a"), config(6, "a")
    before = {weak.trial_id: End("finished", EPOCHS, 1.0), strong.trial_id: earlier}
    scheduler = StudyScheduler(AshaConfig(), EPOCHS, before, deadline=0.0)
    held = [*good, recorded(weak, [(9.0, 3, 0.1)], before=before[weak.trial_id])]
    assert scheduler.replay(held) == []
    assert not stops(scheduler, weak, 4, 0.1)
    assert not stops(scheduler, strong, 2, 0.95)
    assert stops(scheduler, strong, 3, 0.95)
    assert scheduler.reasons == {strong.trial_id: "as before"}
    assert not stops(StudyScheduler(AshaConfig(), EPOCHS), strong, 3, 0.95)
