"""An ablation tunes the learning rate of each cell by validation, and only then tests it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from settings import settings, study_of

from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.errors import StudyError
from study.method.checkpoint import Architecture, EncoderShape
from study.method.subsets import parse
from study.search import stages
from study.storage.ledger import End, StudyFolder
from study.trial import TrialConfig, TrialData
from study.trial.study import Candidate, Study

ARCHITECTURE = Architecture(
    EncoderShape(2, 32, 64), EncoderShape(3, 32, 64), image_size=16, dim=16, checkpoint="tiny"
)
GRID: dict[str, Any] = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(grid()), {})
    return folder


def grid(**changes: Any) -> StudyConfig:
    return build_config({"seed": 3, "ablation": GRID | changes}, "test")


def train(folder: StudyFolder, label: str, rate: float, score: float, **changes: Any) -> None:
    """Write a trial of the search that ran to its end."""
    subset = {"base": "clipfit", **GRID["subsets"]}[label]
    number = len(list(folder.trials()))
    trial = folder.trial(f"search-{number:04d}")
    config = TrialConfig(
        trial_id=trial.trial_id,
        stage="search",
        arm=label,
        label=f"{label} at {rate:g}",
        number=number,
        seed=3,
        subset=str(parse(subset)),
        subset_key=parse(subset).key(ARCHITECTURE.depths),
        trainable=1,
        bias_lr=rate,
        ln_lr=rate,
        distill_weight=2.0,
        epochs=1,
        split_hash="0",
    )
    trial.create(config.model_dump(mode="json"))
    trial.append_report({"epoch": 1, "val_score": score, "seconds": 1.0})
    trial.write_end(End(changes.get("status", "finished"), 1, 1.0))


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What would be trained."""
    queued = SimpleNamespace(stage=None, trials=[], data={}, take_over=None)

    def run_queue(
        study: Study,
        stage: str,
        wanted: Iterable[TrialConfig],
        data: Mapping[int, TrialData],
        observers: Sequence[Any],
        take_over: Any = None,
    ) -> None:
        queued.stage, queued.trials, queued.data = stage, list(wanted), data
        queued.take_over = take_over

    monkeypatch.setattr(stages, "run_queue", run_queue)
    return queued


def test_every_cell_is_tuned_at_every_rate(
    folder: StudyFolder, queued: SimpleNamespace, few_digits: TrialData
) -> None:
    def take_over(trials: Sequence[TrialConfig]) -> list[str]:
        return []

    stages.tune_cells(study_of(grid(), folder, ARCHITECTURE), few_digits, [], take_over)
    assert queued.stage == "search"
    assert queued.take_over is take_over
    assert list(queued.data) == [3]
    assert [(t.trial_id, t.arm, t.label) for t in queued.trials] == [
        ("search-0000", "base", "base at 0.01"),
        ("search-0001", "base", "base at 0.1"),
        ("search-0002", "norms", "norms at 0.01"),
        ("search-0003", "norms", "norms at 0.1"),
        ("search-0004", "biases", "biases at 0.01"),
        ("search-0005", "biases", "biases at 0.1"),
    ]
    base, norms, biases = queued.trials[1::2]
    assert base.settings == settings("clipfit", 0.1, 0.1, 2.0)
    assert norms.settings == settings("vision.ln", None, 0.1, 0.0)
    assert biases.settings == settings("text.bias", 0.1, None, 2.0)


def test_the_rate_of_a_cell_is_the_one_that_validation_prefers(folder: StudyFolder) -> None:
    for label, scores in (("base", (0.5, 0.6)), ("norms", (0.8, 0.3)), ("biases", (0.4, 0.4))):
        for rate, score in zip((0.01, 0.1), scores, strict=True):
            train(folder, label, rate, score)
    chosen = stages.fix_rates(study_of(grid(), folder, ARCHITECTURE))
    assert {label: proposal.rates["bias"] for label, proposal in chosen.items()} == {
        "base": 0.1,
        "norms": 0.01,
        "biases": 0.01,  # of two that are equal the first
    }
    assert chosen["norms"].subset == "vision.ln"


def test_the_choice_is_written_once_and_kept(folder: StudyFolder) -> None:
    for label in ("base", "norms", "biases"):
        train(folder, label, 0.01, 0.5)
    first = stages.fix_rates(study_of(grid(), folder, ARCHITECTURE))
    train(folder, "norms", 0.1, 0.9)
    assert stages.fix_rates(study_of(grid(), folder, ARCHITECTURE)) == first
    assert folder.read_json("cells.json")["norms"]["rates"]["ln"] == 0.01


def test_a_cell_none_of_whose_trials_ran_to_the_end_is_named(folder: StudyFolder) -> None:
    train(folder, "base", 0.01, 0.5)
    train(folder, "norms", 0.01, 0.5, status="failed")
    with pytest.raises(StudyError, match="no trial of the cell 'norms' ran all its epochs"):
        stages.fix_rates(study_of(grid(), folder, ARCHITECTURE))
    assert folder.read_json("cells.json") is None


def test_a_single_rate_needs_no_search(folder: StudyFolder) -> None:
    chosen = stages.fix_rates(study_of(grid(rates=[0.3]), folder, ARCHITECTURE))
    assert chosen == {
        "base": settings("text.mlp.fc2.bias + vision.ln", 0.3, 0.3, 2.0),
        "norms": settings("vision.ln", 0.3, 0.3, 2.0),
        "biases": settings("text.bias", 0.3, 0.3, 2.0),
    }


def test_every_cell_is_tested_on_each_seeds_shots_at_its_own_rate(
    folder: StudyFolder, queued: SimpleNamespace, few_digits: TrialData
) -> None:
    chosen = [
        Candidate(label="base", settings=settings("clipfit", 0.1, 0.1, 2.0)),
        Candidate(label="norms", settings=settings("vision.ln", 0.01, 0.01, 2.0)),
    ]
    data = {1: few_digits, 5: few_digits}
    study = study_of(grid(), folder, ARCHITECTURE)
    stages.run_confirm(study, chosen, data, [], stage="ablation")
    assert queued.stage == "ablation"
    assert queued.data == data
    assert [(t.trial_id, t.label, t.seed, t.settings.rates["ln"]) for t in queued.trials] == [
        ("ablation-0000", "base", 1, 0.1),
        ("ablation-0001", "norms", 1, 0.01),
        ("ablation-1000", "base", 5, 0.1),
        ("ablation-1001", "norms", 5, 0.01),
    ]
