"""Groups of a journal, and studies that real Ray has run, once for all tests.

Whatever a test changes of those studies it puts back.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from study.search.optuna_group import Group, open_journal

from study.backbones.architecture import Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings
from study.search.samplers import Sampler, random
from study.search.space import OpenSpace, Space
from study.storage.ledger_files import JsonObject
from study.trial import TrialData
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.tiny_study import TinyStudy
from tests.written_study import Written

DEPTHS = Depths(text=2, vision=3)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
PEERS: JsonObject = {
    "full": {"peer": "full", "lr": [1e-4, 0.05]},
    "projection": {"peer": "projection", "lr": [1e-3, 0.1]},
}
HALVED: JsonObject = {
    "trials": 14,
    "method_trials": 2,
    "baselines": PEERS,
    "asha": {"reduction_factor": 4},
    # Some do worse than chance.
    "space": {"rates": {"bias": [0.002, 200], "ln": [0.002, 200]}},
}


def search_group(
    journal: Path,
    name: str = "search",
    *,
    space: Space | None = None,
    sampler: Sampler = random,
    seed: int = 1,
    budget: int = 9,
) -> Group:
    """Open a group of a journal, as each driver of a study does."""
    space = space or OpenSpace(SpaceConfig(), DEPTHS)
    return Group(name, open_journal(journal, name), budget, space, sampler, seed)


def ask(group: Group) -> tuple[optuna.Trial, TrialSettings]:
    """Ask a group for a proposal where nothing was tried before."""
    return not_none(group.ask(lambda proposal: None))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


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
def tested(searched: TinyStudy, make_study: Callable[..., TinyStudy]) -> TinyStudy:
    """A copy of the searched study, tested: the searched one holds its search alone."""
    shutil.copytree(searched.folder.path, searched.folder.path.with_name("tested"))
    study = make_study("tested", search=HALVED)
    with trials_in_process():
        study.test()
    return study
