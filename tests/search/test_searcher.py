"""What Tune asks for the next trial."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from study.config.trial_settings import TrialSettings
from study.search.groups import Group
from study.search.make_trial import Proposal
from study.search.recorded_trials import RecordedTrial
from study.search.searcher import SearchPlan, StudySearcher
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import Study, TrialConfig, TrialData
from tests.settings import clipfit_trial, settings

ENDED = End("finished", 4, 1.0)


@dataclass
class Listed(Group):
    """A group that proposes learning rates from a list, the last one again and again."""

    rates: list[float] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    def propose(self, number: int, attempt: int) -> TrialSettings:
        rate = self.rates.pop(0) if len(self.rates) > 1 else self.rates[0]
        self.events.append((number, attempt, rate))
        return settings("vision.ln", None, rate)

    def reject(self, number: int) -> None:
        self.events.append(("rejected", number))

    def tell(self, trial: RecordedTrial) -> None:
        self.events.append(trial)


def listed(name: str, planned: int, *rates: float) -> Listed:
    return Listed(name, planned, 1, rates=[*rates] or [0.001 * (1 + n) for n in range(99)])


def config(proposal: Proposal) -> TrialConfig:
    return clipfit_trial(
        trial_id=f"search-{proposal.number:04d}",
        group=proposal.group,
        number=proposal.number,
        settings=proposal.settings,
        config_hash=str(proposal.settings.rates),
    )


def fixed(number: int, rate: float) -> TrialConfig:
    return config(Proposal(settings("vision.ln", None, rate), "baseline", number))


def recorded(of: TrialConfig) -> RecordedTrial:
    return RecordedTrial(StudyFolder(Path()).trial(of.trial_id), of, ENDED, [], None)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    return folder


@pytest.fixture(autouse=True)
def _trials_without_data(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("study.search.searcher.make_trial", lambda *given: config(given[-1]))


def searcher(folder: StudyFolder, *groups: Group, **given: Any) -> StudySearcher:
    study, data = create_autospec(Study), create_autospec(TrialData)
    plan = SearchPlan(study, data, groups, given.pop("deadline", None))
    return StudySearcher(folder, given.pop("queue", []), plan=plan, **given)


def suggested(search: StudySearcher, most: int = 99) -> list[TrialConfig]:
    """What is asked for until there is no more; each is on disk before it is trained."""
    found = []
    for number in range(most):
        trial = search.suggest(f"tune-{number}")
        if trial is None:
            break
        found.append(trial)
        held = search.folder.trial(trial.trial_id).read_config()
        assert TrialConfig.model_validate(held) == search.running[f"tune-{number}"] == trial
    return found


def test_the_queue_comes_first_then_groups_take_turns_in_proportion(folder: StudyFolder):
    groups = (
        listed("a", 3, 1, 2, 3),
        listed("b", 6, 11, 12, 13, 14, 15, 16),
        listed("c", 3, 21, 22, 23),
    )
    queue = [fixed(4, 0.9), fixed(1, 0.8)]
    found = suggested(searcher(folder, *groups, queue=queue))
    assert found[:2] == queue
    assert [one.number for one in found[2:]] == list(range(5, 17))
    for quarter in (found[2:6], found[6:10], found[10:14]):
        assert Counter(one.group for one in quarter) == {"a": 1, "b": 2, "c": 1}


def test_what_was_trained_or_waits_is_not_trained_again(folder: StudyFolder):
    group = listed("a", 2, 0.1, 0.2, 0.3, 0.3, 0.4)
    own = searcher(folder, group, queue=[fixed(0, 0.1)], recorded=[recorded(fixed(1, 0.2))])
    assert [one.settings.rates["ln"] for one in suggested(own)] == [0.1, 0.3, 0.4]
    assert group.events == [
        *[(2, 0, 0.1), ("rejected", 2), (2, 1, 0.2), ("rejected", 2), (2, 2, 0.3)],
        *[(3, 0, 0.3), ("rejected", 3), (3, 1, 0.4)],
    ]


def test_a_group_goes_on_where_it_was_until_it_is_exhausted(folder: StudyFolder):
    groups = listed("a", 4, 0.1), listed("b", 4, 0.3, 0.4, 0.5, 0.6)
    groups[0].started, before = 2, [recorded(fixed(number, 1.0 + number)) for number in range(7)]
    found = suggested(searcher(folder, *groups, recorded=before))
    assert [one.group for one in found] == ["b", "b", "a", "b", "b"]
    assert found[0].number == 7


def test_after_the_time_the_queue_alone_is_trained(folder: StudyFolder):
    for deadline, trials in ((time.monotonic() + 600, 2), (time.monotonic(), 1)):
        own = searcher(folder, listed("a", 9), queue=[fixed(0, 0.9)], deadline=deadline)
        assert len(suggested(own, 2)) == trials
