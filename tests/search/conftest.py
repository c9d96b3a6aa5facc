"""Studies that real Ray has run, once for all tests.

Whatever a test changes of those studies it puts back.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.backbones.architecture import Depths
from study.search.runner import run_in_process
from study.storage.result_folder import JsonObject
from study.trial.study import TrialData
from tests.real_study import RealStudy
from tests.study_writer import StudyWriter

MakeStudy = Callable[..., RealStudy]
"""Makes a study of a name."""
DEPTHS = Depths(text=2, vision=3)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
METHODS: JsonObject = {
    "full": {"method": "full", "lr": [1e-4, 0.05]},
    "projection": {"method": "projection", "lr": [1e-3, 0.1]},
}
HALVED: JsonObject = {
    "trials": 14,
    "method_trials": 2,
    "baselines": METHODS,
    "asha": {"reduction_factor": 4},
    # Some do worse than chance.
    "space": {"rates": {"bias": [0.002, 200], "ln": [0.002, 200]}},
}


@pytest.fixture
def written(tmp_path: Path) -> StudyWriter:
    return StudyWriter(tmp_path / "mine")


@pytest.fixture(scope="session")
def few_digits(make_study: MakeStudy) -> TrialData:
    """What a trial reads, images and all: its configuration's hash covers them."""
    return make_study("few").data


@pytest.fixture(scope="session")
def searched(make_study: MakeStudy, ray_cluster: None) -> RealStudy:
    """A study whose search has run, with successive halving."""
    study = make_study("searched", search=HALVED)
    study.search()
    return study


@pytest.fixture(scope="session")
def tested(searched: RealStudy, make_study: MakeStudy) -> RealStudy:
    """A copy of the searched study, tested: the searched one holds its search alone."""
    shutil.copytree(searched.folder.path, searched.folder.path.with_name("tested"))
    study = make_study("tested", search=HALVED)
    study.test(run_in_process)
    return study
