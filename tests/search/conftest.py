"""Studies that real Ray has run, once for all tests: whatever a test changes it puts back."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from study.trial import TrialData
from tests.tiny_study import TinyStudy, kill_worker

HALVED: dict[str, Any] = {
    "trials": 14,
    "asha": {"reduction_factor": 4},
    # Some do worse than chance.
    "space": {"rates": {"bias": [0.002, 200], "ln": [0.002, 200]}, "heads": ["text"]},
}
BROKEN = {
    "zero-shot": {"subset": "none"},
    "clipfit": {"subset": "clipfit", "rates": {"bias": 0.002, "ln": 0.002}, "distill_weight": 8},
    "diverging": {"subset": "ln", "rates": {"ln": 1e30}},
    "raising": {"subset": "vision.ln", "rates": {"ln": 0.01}},
}
UNHEARD: tuple[tuple[str, str, Any], ...] = (
    ("started", "search-0000", None),
    ("reported", "search-0004", 2),
    ("ended", "search-0005", "finished"),
)
"""Events of the troubled study at which its observer fails."""


def fail() -> None:
    """What an observer without its server does."""
    raise ConnectionError("no server")


@pytest.fixture(scope="session")
def few_digits(make_study: Callable[..., TinyStudy]) -> TrialData:
    """What a trial reads, images and all: its configuration's hash covers them."""
    return make_study("few").data


@pytest.fixture(scope="session")
def searched(make_study: Callable[..., TinyStudy], ray_cluster: None) -> TinyStudy:
    """A study whose search has run, with successive halving."""
    study = make_study("searched", search=HALVED)
    study.search()
    return study


@pytest.fixture(scope="session")
def confirmed(searched: TinyStudy, make_study: Callable[..., TinyStudy]) -> TinyStudy:
    """A copy of the searched study, confirmed: the searched one holds its search alone."""
    shutil.copytree(searched.folder.path, searched.folder.path.with_name("confirmed"))
    study = make_study("confirmed", search=HALVED)
    study.confirm()
    return study


@pytest.fixture(scope="session")
def troubled(make_study: Callable[..., TinyStudy], ray_cluster: None) -> TinyStudy:
    """A study with a baseline that diverges, one that raises, and one whose worker is killed."""
    with pytest.MonkeyPatch.context() as patch:  # a rate that diverges is one that is refused
        patch.setattr("study.config.rules.HIGHEST_RATE", 1e30)
        search = {"asha": None, "baselines": BROKEN, "sampler": "random"}
        study = make_study("troubled", search=search)
    blocked = study.folder.trial("search-0003").path / "delta.safetensors"
    blocked.mkdir(parents=True)
    study.heard.at["reported", "search-0001", 2] = kill_worker
    for event in UNHEARD:
        study.heard.at[event] = fail
    study.search()
    return study
