"""What Tune asks for the next trial, and what the groups are told."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from study.search.optuna_group import Group, Outcome

from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search import optuna_group as arms_module
from study.search.searcher import Proposal, Proposers, StudySearcher, outcome_of
from study.search.space import OpenSpace, RateSpace
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial import TrialConfig
from tests.settings import settings
from tests.small_trials import EPOCHS, trial

from .conftest import CLIPFIT, DEPTHS, search_group


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    return folder


def config(proposal: Proposal) -> TrialConfig:
    made = trial(
        trial_id=f"search-{proposal.number:04d}",
        group=proposal.group,
        number=proposal.number,
        config_hash=str(proposal.settings),
    )
    return made.model_copy(update={"settings": proposal.settings})


BASELINE = config(Proposal(settings(CLIPFIT, 0.01, 0.02, 2.0), "baseline", 0))


def open_groups(folder: StudyFolder, tuned: int = 3, searched: int = 6) -> list[Group]:
    path, rates = folder.path / "journal", RateSpace(SpaceConfig(), DEPTHS, CLIPFIT)
    return [
        search_group(path, "clipfit-tuned", budget=tuned, space=rates),
        search_group(path, budget=searched),
    ]


def searcher(folder: StudyFolder, groups: list[Group], **given: Any) -> StudySearcher:
    queue = given.pop("queue", [BASELINE])
    proposers = Proposers(groups, next_number=1, make_trial=config, **given)
    return StudySearcher(folder, queue, proposers=proposers)


def suggested(search: StudySearcher) -> TrialConfig:
    """Give the next trial, which Tune calls a."""
    return TrialConfig.model_validate(search.suggest("a"))


def all_suggestions(search: StudySearcher) -> list[TrialConfig]:
    suggestions = iter(lambda: search.suggest("b"), Searcher.FINISHED)
    return [TrialConfig.model_validate(suggestion) for suggestion in islice(suggestions, 99)]


def test_the_queue_goes_first_then_each_group_its_share_until_all_is_spent(
    folder: StudyFolder,
):
    configs = all_suggestions(searcher(folder, open_groups(folder)))
    assert configs[0] == BASELINE
    assert [c.group for c in configs[1:]] == ["clipfit-tuned", "search", "search"] * 3
    assert [c.number for c in configs] == list(range(10))


def repeating(group: Group, *proposals: TrialSettings):
    """Make a group's space propose these."""
    space = create_autospec(OpenSpace, instance=True)
    space.suggest.side_effect = proposals
    space.encode.return_value = None
    group.space = space


@pytest.mark.parametrize("when", ["before", "earlier", "running"])
def test_an_equal_training_is_proposed_once_whoever_proposed_it(folder: StudyFolder, when: str):
    groups = open_groups(folder, tuned=0, searched=2)
    first, second = settings("vision.ln1", None, 0.1), settings("vision.ln2", None, 0.1)
    repeating(groups[1], BASELINE.settings, first, first, BASELINE.settings, second)
    if when == "before":  # the study was resumed
        ended = [(BASELINE, Outcome(0.6, TrialState.COMPLETE))]
        search = searcher(folder, groups, queue=[], ended=ended)
    else:
        search = searcher(folder, groups)
        config = suggested(search)
        if when == "earlier":
            search.conclude(config, End("finished", EPOCHS, 1.0), 0.6)
    assert [config.settings for config in all_suggestions(search)] == [first, second]
    known = (TrialState.FAIL, None) if when == "running" else (TrialState.COMPLETE, 0.6)
    new = (TrialState.RUNNING, None)
    told = [(trial.state, trial.value) for trial in groups[1].trials]
    assert told == [known, new, (TrialState.FAIL, None), known, new]


def test_an_exhausted_group_ends_and_leaves_the_other_its_own(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arms_module, "ASKS_BEFORE_GIVING_UP", 3)
    groups = open_groups(folder, tuned=3, searched=4)
    repeating(groups[1], *[settings("none")] * 9)
    configs = all_suggestions(searcher(folder, groups, queue=[]))
    assert Counter(c.group for c in configs) == {"clipfit-tuned": 3, "search": 1}


def test_results_of_other_trials_and_of_groups_that_are_not_open_are_passed_over(
    folder: StudyFolder,
):
    own = config(Proposal(settings("none"), "search", 3))
    search = StudySearcher(folder, [own, BASELINE])
    assert suggested(search) == own
    search.suggest("b")
    for trial_id in ("a", "b", "c"):
        search.on_trial_result(trial_id, {"epoch": 1, "score": 0.5})
        search.on_trial_complete(trial_id, {"epoch": 1, "score": 0.5})
    search.conclude(own, End("finished", EPOCHS, 1.0), 0.5)


@pytest.mark.parametrize(
    "end, outcome",
    [
        (End("finished", EPOCHS, 1.0), Outcome(0.5, TrialState.COMPLETE, EPOCHS)),
        (End("stopped", 3, 1.0), Outcome(0.5, TrialState.PRUNED, 3)),
        (End("failed", 2, 1.0), Outcome(None, TrialState.FAIL, 2)),
        (End("failed", 2, 1.0, unfit=True), Outcome(0.0, TrialState.PRUNED, 3)),
    ],
)
def test_an_outcome_follows_from_how_a_trial_ended(end: End, outcome: Outcome):
    assert outcome_of(end, 0.5) == outcome
