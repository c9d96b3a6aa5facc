"""What the tests of protocols share: a data root with miniatures in the exact formats."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def miniature() -> ModuleType:
    """The makers of miniature datasets, by their file: these folders are no packages."""
    path = Path(__file__).parents[1] / "data" / "miniature.py"
    spec = importlib.util.spec_from_file_location("miniature_datasets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root(miniature: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a miniature of all fifteen: 4 classes, few images."""
    root = tmp_path_factory.mktemp("data")
    for name in (*miniature.ELEVEN, *miniature.SHIFTED):
        miniature.make(name, root, classes=4, counts=(4, 2, 2))
    return root
