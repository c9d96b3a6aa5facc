"""Who proposes the trials of a search and how many each, and what Optuna is given of them."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from study.config.labels import OPEN
from study.config.loading import build_config
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search.groups import Group, Open, plan_groups, sobol_point
from study.search.recorded_trials import RecordedTrial
from study.search.samplers import Sampler, random, tpe
from study.search.space import Space
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from tests.real_study import optuna_trials
from tests.settings import clipfit_trial, settings, study_of

from .conftest import CLIPFIT, DEPTHS, METHODS

RANGES = {"bias_lr": (1e-4, 0.1), "ln_lr": (1e-3, 1.0), "distill_weight": (0.25, 16.0)}


def groups_of(seed: int = 1, **search: Any) -> dict[str, Group]:
    config = build_config({"seed": seed, "search": search}, "test")
    return {group.name: group for group in plan_groups(study_of(config, StudyFolder(Path())))}


def proposals(group: Group) -> list[Any]:
    """All that a group proposes, each trial being recorded."""
    found = []
    while group.started < group.planned:
        found.append(group.propose(group.started, 0))
        group.started += 1
    return found


def test_points_are_spread_evenly_over_the_logarithms_of_their_ranges():
    points = [sobol_point("1/a", index, RANGES) for index in range(64)]
    for name, (low, high) in RANGES.items():
        shares = np.log([point[name] / low for point in points]) / np.log(high / low)
        assert np.histogram(shares, bins=8, range=(0, 1))[0].tolist() == [8] * 8


def test_each_group_proposes_what_it_is_for():
    space = {"rates": {"bias": (0.001, 0.1), "ln": (0.002, 0.2)}, "distill_weight": (0.5, 4)}
    groups = groups_of(baselines=METHODS, space=space)
    for own in proposals(groups["clipfit-tuned"]):
        assert (own.subset, own.method, own.head) == (CLIPFIT, None, None)
        assert 0.001 <= own.rates["bias"] <= 0.1
        assert 0.002 <= own.rates["ln"] <= 0.2
        assert 0.5 <= own.distill_weight <= 4
    assert len({own.subset for own in proposals(groups["search"])}) > 20
    for name, method in METHODS.items():
        for own in proposals(groups[name]):
            assert (own.subset, own.method.method) == ("none", name)
            assert method["lr"][0] <= own.method.lr <= method["lr"][1]


def test_an_extended_plan_goes_on_where_the_shorter_one_ended():
    shorter = groups_of(trials=24, method_trials=3, baselines=METHODS)
    longer = groups_of(trials=48, method_trials=6, baselines=METHODS)
    other = groups_of(2, trials=24, method_trials=3, baselines=METHODS)
    for name, group in shorter.items():
        first = proposals(group)
        assert proposals(longer[name])[: len(first)] == first
        assert proposals(other[name]) != first


# The open search


FINISHED = End("finished", 4, 1.0)
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
CLIPFITS = settings(CLIPFIT, 0.01, 0.02, 2.0)


def search(sampler: Sampler = random) -> Open:
    return Open(OPEN, 99, 1, Space(SpaceConfig(), DEPTHS), sampler)


def recorded(
    number: int, own: TrialSettings, scores: Mapping[int, float], end: End = FINISHED
) -> RecordedTrial:
    config = clipfit_trial(trial_id=f"search-{number:04d}", number=number)
    folder = StudyFolder(Path()).trial(config.trial_id)
    reports = [{"epoch": epoch, "val_score": score} for epoch, score in scores.items()]
    return RecordedTrial(folder, config.model_copy(update={"settings": own}), end, reports, None)


@pytest.mark.parametrize(
    "end, scores, known",
    [
        (FINISHED, {3: 0.4, 4: 0.5}, (COMPLETE, 0.5, {3: 0.4, 4: 0.5})),
        (End("stopped", 3, 1.0), {3: 0.4}, (PRUNED, 0.4, {3: 0.4})),
        (End("stopped", 1, 1.0), {}, (PRUNED, None, {})),  # by the time, before any score
        (End("failed", 3, 1.0, caused_by_settings=True), {3: 0.4}, (PRUNED, 0.0, {3: 0.4, 4: 0.0})),
        (End("failed", 3, 1.0), {3: 0.4}, None),
    ],
)
@pytest.mark.parametrize("is_own_dataset", [True, False])
def test_optuna_is_given_every_end_but_that_of_a_failed_machine(
    tmp_path: Path, end: End, scores: dict[int, float], known: object, is_own_dataset: bool
):
    optuna = search()
    own = optuna.propose(7, attempt=1) if is_own_dataset else CLIPFITS
    optuna.tell(recorded(7, own, scores, end))
    optuna.write(tmp_path)
    found = [
        (one.state, one.value, one.intermediate_values)
        for one in optuna_trials(StudyFolder(tmp_path)).values()
    ]
    assert found == [known] * (known is not None)


def run(sampler: Sampler, *, restart: bool = False, reject: bool = False) -> list[TrialSettings]:
    """Propose trials that end one after the other, TPE sampling at random up to the tenth."""
    optuna = search(sampler)
    ended: list[RecordedTrial] = []
    for number in range(16):
        if restart:
            optuna = search(sampler)
            for one in reversed(ended):  # whatever the order, such as after a trial was reopened
                optuna.tell(one)
        if reject:
            optuna.propose(number, attempt=1000 + number)
            optuna.reject(number)
        own = CLIPFITS if number == 3 else optuna.propose(number, attempt=number)
        score = 0.3 + own.rates.get("ln", 0)
        end = End("stopped", 3, 1.0) if number % 3 == 0 else FINISHED
        scores = {3: score} if number % 3 == 0 else {3: score - 0.1, 4: score}
        if number == 5:
            end = End("failed", 3, 1.0)
        ended.append(recorded(number, own, scores, end))
        optuna.tell(ended[-1])
    return [one.config.settings for one in ended]


class Seeing(RandomSampler):
    """A sampler that keeps the values of the trials that it is shown."""

    shown: ClassVar[list[Any]] = []

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        type(self).shown = [one.value for one in study.trials if one.state != TrialState.RUNNING]
        return {}


@pytest.mark.parametrize("ended, is_long", [(300, False), (400, True)])
def test_of_a_long_search_a_proposal_is_made_from_the_best_and_the_newest(
    tmp_path: Path, ended: int, is_long: bool
):
    optuna = search(lambda seed: Seeing(seed=seed))
    values = np.random.default_rng(1).permutation(ended) / ended
    values[:20] += 1  # the best are among the oldest
    for number, value in enumerate(values.tolist()):
        optuna.tell(recorded(number, CLIPFITS, {4: value}))
    optuna.propose(ended, attempt=0)
    kept = {*sorted(values.tolist())[-25:], *values.tolist()[-275:]}
    assert {*Seeing.shown} == (kept if is_long else {*values.tolist()})
    optuna.reject(ended)
    optuna.write(tmp_path)
    assert len(optuna_trials(StudyFolder(tmp_path))) == ended, "the file has them all"


@pytest.mark.parametrize("sampler", [tpe, random])
def test_what_is_proposed_follows_from_the_trials_alone(sampler: Sampler):
    undisturbed = run(sampler)
    assert len({repr(own) for own in undisturbed}) == 16
    assert run(sampler, restart=True) == undisturbed
    assert run(sampler, reject=True) == undisturbed


def test_tpe_learns_from_scores_and_from_trials_under_way():
    def proposed(sign: float, under_way: int) -> TrialSettings:
        optuna = search(tpe)
        for number in range(12):
            own = search().propose(number, attempt=number)
            optuna.tell(recorded(number, own, {4: 0.5 + sign * number}))
        for number in range(12, 12 + under_way):
            optuna.propose(number, attempt=number)
        return optuna.propose(20, attempt=94)

    found = [proposed(*case) for case in itertools.product((0.01, -0.01), (0, 3))]
    assert len({repr(own) for own in found}) == 4
