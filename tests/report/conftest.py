"""The studies that tests of results use, and what the report says of them, as it is kept."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.results.conftest import (
    ablation_study,
    base_to_new_study,
    drawn_study,
    few_shot_study,
    guessing_study,
    make_study,
    predicted,
    trained_study,
    tuned_study,
    untested_study,
)

__all__ = [
    "ablation_study",
    "base_to_new_study",
    "drawn_study",
    "few_shot_study",
    "guessing_study",
    "make_study",
    "predicted",
    "trained_study",
    "tuned_study",
    "untested_study",
]

AsKept = Callable[[str, str], None]
"""Fails unless a text is that of the file of a name in ``told/``, which UPDATE=1 writes anew."""


@pytest.fixture
def as_kept() -> AsKept:
    def as_kept(name: str, text: str):
        path = Path(__file__).parent / "told" / f"{name}.txt"
        if os.environ.get("UPDATE"):
            path.write_text(text)
        assert text.splitlines() == path.read_text().splitlines()

    return as_kept


def keep(folder: Path, seed: int, predictions: Sequence[Prediction]):
    """Let a seed of the winner have these predictions."""
    trial = folder / f"trials/test-best-seed{seed}"
    (trial / "predictions.parquet").write_bytes(predictions_to_parquet(predictions))


def rounded(text: str) -> str:
    """Return a text whose numbers have six digits, as they have them on every machine."""
    return re.sub(r"\d+\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.6g}", text)
