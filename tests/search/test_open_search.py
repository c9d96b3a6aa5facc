"""What Optuna is given of the trials of a search, and what it proposes then."""

import itertools
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.config.labels import OPEN
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search.groups import JOURNAL, Open
from study.search.samplers import Sampler, random, tpe
from study.search.space import Space
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import TrialConfig
from tests.settings import settings
from tests.small_trials import trial
from tests.tiny_study import optuna_trials

from .conftest import CLIPFIT, DEPTHS

FINISHED = End("finished", 4, 1.0)
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
CLIPFITS = settings(CLIPFIT, 0.01, 0.02, 2.0)


def search(sampler: Sampler = random) -> Open:
    return Open(OPEN, 99, 1, Space(SpaceConfig(), DEPTHS), sampler)


def config(number: int, own: TrialSettings) -> TrialConfig:
    return trial(trial_id=f"search-{number:04d}", number=number).model_copy(
        update={"settings": own}
    )


@pytest.mark.parametrize(
    "end, scores, known",
    [
        (FINISHED, {3: 0.4, 4: 0.5}, (COMPLETE, 0.5, {3: 0.4, 4: 0.5})),
        (End("stopped", 3, 1.0), {3: 0.4}, (PRUNED, 0.4, {3: 0.4})),
        (End("stopped", 1, 1.0), {}, (PRUNED, None, {})),  # by the time, before any score
        (End("failed", 3, 1.0, unfit=True), {3: 0.4}, (PRUNED, 0.0, {3: 0.4, 4: 0.0})),
        (End("failed", 3, 1.0), {3: 0.4}, None),
    ],
)
@pytest.mark.parametrize("is_own", [True, False])
def test_optuna_is_given_every_end_but_that_of_a_failed_machine(
    tmp_path: Path, end: End, scores: dict[int, float], known: object, is_own: bool
):
    optuna = search()
    own = config(7, optuna.propose(7, attempt=1) if is_own else CLIPFITS)
    optuna.learn(own, end, scores)
    optuna.write(tmp_path)
    found = [
        (one.state, one.value, one.intermediate_values)
        for one in optuna_trials(StudyFolder(tmp_path)).values()
    ]
    assert found == [known] * (known is not None)


def test_a_trial_is_given_with_the_choices_that_lead_to_it_if_the_space_contains_it(
    tmp_path: Path,
):
    optuna = search()
    method = TrialSettings.model_validate(
        {"subset": "none", "method": {"method": "full", "lr": 0.01}}
    )
    for number, own in enumerate([CLIPFITS, settings("text.bias", 0.9), method]):
        optuna.learn(config(number, own), FINISHED, {4: 0.6})
    optuna.write(tmp_path)
    (known,) = optuna_trials(StudyFolder(tmp_path)).values()
    assert known.user_attrs == {"trial": "search-0000"}
    assert [known.params[name] for name in ("bias_lr", "ln_lr", "distill_weight")] == [
        *(0.01, 0.02, 2.0)
    ]


def run(sampler: Sampler, *, restart: bool = False, reject: bool = False) -> list[TrialSettings]:
    """Propose trials that end one after the other, TPE sampling at random up to the tenth."""
    optuna = search(sampler)
    ended: list[tuple[TrialConfig, End, dict[int, float]]] = []
    for number in range(16):
        if restart:
            optuna = search(sampler)
            for one in reversed(ended):  # whatever the order, such as after a trial was reopened
                optuna.learn(*one)
        if reject:
            optuna.propose(number, attempt=1000 + number)
            optuna.reject(number)
        own = CLIPFITS if number == 3 else optuna.propose(number, attempt=number)
        score = 0.3 + own.rates.get("ln", 0)
        end = End("stopped", 3, 1.0) if number % 3 == 0 else FINISHED
        scores = {3: score} if number % 3 == 0 else {3: score - 0.1, 4: score}
        if number == 5:
            end = End("failed", 3, 1.0)
        ended.append((config(number, own), end, scores))
        optuna.learn(*ended[-1])
    return [one.settings for one, _, _ in ended]


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
            optuna.learn(config(number, own), FINISHED, {4: 0.5 + sign * number})
        for number in range(12, 12 + under_way):
            optuna.propose(number, attempt=number)
        return optuna.propose(20, attempt=94)

    found = [proposed(*case) for case in itertools.product((0.01, -0.01), (0, 3))]
    assert len({repr(own) for own in found}) == 4


def test_the_journal_replaces_an_earlier_one(tmp_path: Path):
    (tmp_path / JOURNAL).write_text("no journal")
    optuna = search()
    for count in (1, 2):
        optuna.learn(config(count, CLIPFITS), FINISHED, {4: 0.6})
        optuna.write(tmp_path)
        assert len(optuna_trials(StudyFolder(tmp_path))) == count
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
