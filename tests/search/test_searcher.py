"""What Tune asks for the next trial, and what the arms are told."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search import optuna_arm as arms_module
from study.search.optuna_arm import Arm, Outcome, open_arm
from study.search.samplers import random
from study.search.searcher import Proposal, Proposers, StudySearcher, outcome_of
from study.search.space import OpenSpace, RateSpace
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial import TrialConfig
from tests.settings import settings
from tests.small_trials import EPOCHS, trial

DEPTHS = Depths(text=2, vision=3)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    return folder


def config(proposal: Proposal) -> TrialConfig:
    made = trial(
        trial_id=f"search-{proposal.number:04d}",
        arm=proposal.arm,
        number=proposal.number,
        subset_key=proposal.settings.subset,
        optuna_number=proposal.optuna_number,
    )
    return made.model_copy(update={"settings": proposal.settings})


BASELINE = config(Proposal(settings(CLIPFIT, 0.01, 0.02, 2.0), "baseline", 0))


def open_arms(folder: StudyFolder, tuned: int = 3, searched: int = 6) -> list[Arm]:
    spaces: dict[str, tuple[int, Any]] = {
        "clipfit-tuned": (tuned, RateSpace(SpaceConfig(), DEPTHS, CLIPFIT)),
        "search": (searched, OpenSpace(SpaceConfig(), DEPTHS)),
    }
    return [
        open_arm(folder.path / "journal", name, budget=budget, space=space, sampler=random, seed=1)
        for name, (budget, space) in spaces.items()
    ]


def searcher(folder: StudyFolder, arms: list[Arm], **given: Any) -> StudySearcher:
    values: dict[str, Any] = {"next_number": 1, "make_trial": config}
    queue = given.pop("queue", [BASELINE])
    return StudySearcher(folder, queue, proposers=Proposers(arms, **(values | given)))


def suggested(search: StudySearcher) -> TrialConfig:
    """Give the next trial, which Tune calls a."""
    return TrialConfig.model_validate(search.suggest("a"))


def all_suggestions(of: StudySearcher) -> list[TrialConfig]:
    configs: list[TrialConfig] = []
    for number in range(99):
        suggestion = of.suggest(f"tune{number}")
        if suggestion == Searcher.FINISHED:
            return configs
        configs.append(TrialConfig.model_validate(suggestion))
    raise AssertionError("it never ends")


def test_the_queue_goes_first_then_each_arm_its_share_until_all_is_spent(
    folder: StudyFolder,
) -> None:
    configs = all_suggestions(searcher(folder, open_arms(folder)))
    assert configs[0] == BASELINE
    assert Counter(c.arm for c in configs) == {"baseline": 1, "clipfit-tuned": 3, "search": 6}
    for end in range(1, len(configs)):
        tuned = sum(c.arm == "clipfit-tuned" for c in configs[1 : end + 1])
        assert abs(tuned - end / 3) <= 1, "an arm was left behind"
    assert [c.number for c in configs] == list(range(10))


def test_a_trial_is_in_the_ledger_before_tune_hears_of_it(folder: StudyFolder) -> None:
    suggestion = searcher(folder, []).suggest("tune0")
    assert folder.trial("search-0000").read_config() == suggestion


def test_a_trial_that_was_stopped_is_pruned_at_the_score_it_was_stopped_with(
    folder: StudyFolder,
) -> None:
    arms = open_arms(folder, tuned=0)
    search = searcher(folder, arms, queue=[])
    config = suggested(search)
    for epoch in (1, 2):
        search.on_trial_result("a", {"epoch": epoch, "score": epoch / 10})
    search.conclude(config, End("stopped", 3, 1.0), 0.15)
    (trial,) = arms[1].study.trials
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.15}


def test_a_trial_that_is_unfit_is_pruned_with_the_worst_score(folder: StudyFolder) -> None:
    arms = open_arms(folder, tuned=0)
    search = searcher(folder, arms, queue=[])
    config = suggested(search)
    search.on_trial_result("a", {"epoch": 1, "score": 0.9})
    search.conclude(config, End("failed", 1, 1.0, unfit=True), None)
    (trial,) = arms[1].study.trials
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.0)
    assert trial.intermediate_values == {1: 0.9, 2: 0.0}


def test_a_finished_baseline_teaches_the_arms_that_can_express_it(folder: StudyFolder) -> None:
    arms = open_arms(folder)
    search = searcher(folder, arms)
    search.conclude(suggested(search), End("finished", EPOCHS, 1.0), 0.6)
    for arm in arms:
        assert [(t.value, t.state) for t in arm.study.trials] == [(0.6, TrialState.COMPLETE)]


def repeating(arm: Arm, proposals: list[TrialSettings]) -> None:
    """Make an arm's space propose these."""
    given = iter(proposals)

    class Space:
        def suggest(self, trial: Any) -> TrialSettings:
            return next(given)

        def encode(self, proposal: TrialSettings) -> None:
            """Express nothing."""

    arm.space = Space()  # type: ignore[assignment]


@pytest.mark.parametrize("running", [True, False])
def test_an_equal_training_is_proposed_once_whoever_proposed_it(
    folder: StudyFolder, running: bool
) -> None:
    arms = open_arms(folder, tuned=0, searched=2)
    same = BASELINE.settings
    first, second = settings("vision.ln1", None, 0.1), settings("vision.ln2", None, 0.1)
    repeating(arms[1], [same, first, first, same, second])
    search = searcher(folder, arms)
    config = suggested(search)
    if not running:
        search.conclude(config, End("finished", EPOCHS, 1.0), 0.6)
    configs = all_suggestions(search)
    assert [c.settings.subset for c in configs] == ["vision.ln1", "vision.ln2"]
    told = [t.value for t in arms[1].study.trials if t.state is TrialState.COMPLETE]
    assert told == ([] if running else [0.6, 0.6])


def test_what_ended_before_a_study_was_resumed_is_not_trained_again(folder: StudyFolder) -> None:
    arms = open_arms(folder, tuned=0, searched=1)
    same = BASELINE.settings
    repeating(arms[1], [same, settings("none")])
    ended = [(BASELINE, Outcome(0.6, TrialState.COMPLETE))]
    configs = all_suggestions(searcher(folder, arms, queue=[], ended=ended))
    assert [c.settings.subset for c in configs] == ["none"]


def test_an_exhausted_arm_ends_and_leaves_the_other_its_own(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms_module, "ASKS_BEFORE_GIVING_UP", 3)
    arms = open_arms(folder, tuned=3, searched=4)
    repeating(arms[1], [settings("none")] * 9)
    configs = all_suggestions(searcher(folder, arms, queue=[]))
    assert Counter(c.arm for c in configs) == {"clipfit-tuned": 3, "search": 1}


def test_results_of_other_trials_are_passed_over(folder: StudyFolder) -> None:
    search = searcher(folder, open_arms(folder))
    search.suggest("a")
    search.on_trial_result("a", {"epoch": 1, "score": 0.5})  # a baseline has no proposal
    search.on_trial_result("b", {"epoch": 1, "score": 0.5})
    search.on_trial_complete("b", {"epoch": 1, "score": 0.5})


def test_a_trial_whose_arm_is_not_open_is_run_without_it(folder: StudyFolder) -> None:
    own = config(Proposal(settings("none"), "search", 3, 0))
    search = StudySearcher(folder, [own])
    assert suggested(search) == own
    search.on_trial_result("a", {"epoch": 1, "score": 0.5})
    search.conclude(own, End("finished", EPOCHS, 1.0), 0.5)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (End("finished", EPOCHS, 1.0), Outcome(0.5, TrialState.COMPLETE, EPOCHS)),
        (End("stopped", 3, 1.0), Outcome(0.5, TrialState.PRUNED, 3)),
        (End("failed", 2, 1.0), Outcome(None, TrialState.FAIL, 2)),
        (End("failed", 2, 1.0, unfit=True), Outcome(0.0, TrialState.PRUNED, 3)),
    ],
)
def test_an_outcome_follows_from_how_a_trial_ended(end: End, outcome: Outcome) -> None:
    assert outcome_of(end, 0.5) == outcome
