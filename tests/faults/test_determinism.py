"""Equal trials give equal bytes: whoever runs them, in whatever order, beside whatever else."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tiny_study import TinyStudy, untimed

from study.search.queues import run_queue
from study.storage.ledger import StudyFolder
from study.trial import TrialConfig

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.long]

SETTINGS = {"trials": 8, "asha": None, "sampler": "random"}
MakeStudy = Callable[..., TinyStudy]


def search(make_study: MakeStudy, name: str, **values: object) -> StudyFolder:
    study = make_study(name, search=SETTINGS, **values)
    study.search()
    return study.folder


def deltas(folder: StudyFolder) -> dict[str, bytes]:
    """The files of tuned parameters, by trial and name."""
    found: list[Path] = sorted(folder.path.glob("trials/*/delta*.safetensors"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def one_worker(make_study: MakeStudy) -> StudyFolder:
    return search(make_study, "one-worker")


def assert_same(folder: StudyFolder, other: StudyFolder) -> None:
    trials, others = list(folder.trials()), list(other.trials())
    assert [trial.trial_id for trial in trials] == [trial.trial_id for trial in others]
    hashes, expected = ([t.read_config()["config_hash"] for t in all_] for all_ in (trials, others))
    assert hashes == expected
    assert [untimed(trial) for trial in trials] == [untimed(trial) for trial in others]
    assert len(deltas(folder)) == sum(trial.read_config()["trainable"] > 0 for trial in trials)
    assert deltas(folder) == deltas(other)


def test_the_same_study_gives_the_same_bytes(
    make_study: MakeStudy, one_worker: StudyFolder
) -> None:
    assert_same(search(make_study, "again"), one_worker)


def test_another_seed_gives_others(make_study: MakeStudy, one_worker: StudyFolder) -> None:
    other = deltas(search(make_study, "other-seed", seed=2))
    assert not set(other.values()) & set(deltas(one_worker).values())


def run_again(study: TinyStudy, wanted: Sequence[TrialConfig]) -> None:
    """Run given trials, since what a search proposes next may depend on which trial ended first."""
    run_queue(study.study, "search", wanted, {1: study.data}, [study.heard])


def trials_of(folder: StudyFolder) -> list[TrialConfig]:
    return [
        TrialConfig.model_validate({**trial.read_config(), "optuna_number": None})
        for trial in folder.trials()
    ]


def test_two_workers_give_the_bytes_of_one(make_study: MakeStudy, one_worker: StudyFolder) -> None:
    two = make_study("two-workers", search=SETTINGS, resources={"max_concurrent": 2})
    run_again(two, trials_of(one_worker))
    assert_same(two.folder, one_worker)


def test_the_reverse_order_gives_the_same_bytes(
    make_study: MakeStudy, one_worker: StudyFolder
) -> None:
    study = make_study("reversed", search=SETTINGS)
    wanted = trials_of(one_worker)[::-1]
    run_again(study, wanted)
    started = [trial_id for event, trial_id, _ in study.heard.events if event == "started"]
    assert started == [config.trial_id for config in wanted]
    assert_same(study.folder, one_worker)
