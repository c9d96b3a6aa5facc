"""The studies that tests of results use, and changes of them that several tests need."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from study.report.charts import Chart
from study.report.page import write_report
from study.storage.result_folder import JsonObject
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Prediction
from tests.changed_studies import board_of, choose
from tests.fake_studies import add_candidate, edit_candidates
from tests.results.conftest import (  # noqa: F401
    ablation_study,
    base_to_new_study,
    drawn_study,
    few_shot_study,
    make_study,
    trained_study,
    tuned_study,
    untested_study,
)


@pytest.fixture(scope="session")
def report(drawn_study: tuple[Path, Sequence[Chart]]) -> str:  # noqa: F811
    """The page of a base-to-new study, which stands in its folder."""
    folder, plots = drawn_study
    return write_report(board_of(folder), plots).read_text()


def keep(folder: Path, seed: int, predictions: Sequence[Prediction]):
    """Let a seed of the best configuration have these predictions."""
    trial = folder / f"trials/test-best-seed{seed}"
    (trial / "predictions.parquet").write_bytes(predictions_to_parquet(predictions))


def choose_other(folder: Path, label: str) -> Path:
    """Let validation have chosen another candidate."""
    edit_candidates(folder, lambda candidates: choose(candidates, label))
    return folder


def choose_full(folder: Path) -> Path:
    """Let validation have chosen full fine-tuning, which cannot be written as a delta."""
    add_candidate(folder, "full", 0.02, val_score=0.9, method={"method": "full", "lr": 1e-4})
    add_candidate(folder, "best-with-delta", -0.01, val_score=0.7, subset="vision.ln")
    return choose_other(folder, "full")


def drop_tests(folder: Path, *labels: str) -> Path:
    """Let candidates not have been tested; ``*`` is all of them."""
    for label in labels:
        for trial in folder.glob(f"trials/test-{label}-seed*"):
            shutil.rmtree(trial)
    return folder


def drop_search(folder: Path) -> Path:
    """Let nothing have been searched."""
    for trial in folder.glob("trials/search-*"):
        shutil.rmtree(trial)
    searched = ("best", "second", "third")

    def drop(candidates: list[JsonObject]):
        candidates[:] = [one for one in candidates if one["label"] not in searched]

    edit_candidates(folder, drop)
    return drop_tests(folder, *searched)
