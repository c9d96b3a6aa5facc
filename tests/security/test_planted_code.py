"""A file from a stranger may hold code; wherever it is put, it is refused and never run."""

import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from study.backbones.load_backbone import load_backbone
from study.data.datasets import load_dataset
from study.data.images.sources import FolderSource
from study.data.images.table import ImageTable
from study.data.published_shots import read_published_shots
from study.data.readers.benchmarks import LAYOUTS
from study.data.shots import read_shots
from study.errors import BackboneError, DataError, DeltaError, StudyError
from study.method.delta import load_delta
from study.search.checkpoints import load_state
from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder


class Planted:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What a planted pickle touches."""
    return tmp_path / "trace"


def torch_file(trace: Path, path: Path):
    """Write a pickle as PyTorch does, in an archive."""
    torch.save({"x": Planted(trace)}, path)


PLACES: dict[str, tuple[Callable[[Path], object], type[StudyError]]] = {
    "delta.safetensors": (load_delta, DeltaError),
    LAYOUTS["dtd"].split: (lambda path: load_dataset("dtd", path.parent), DataError),
    "shots.jsonl": (read_shots, DataError),
    "shot_1-seed_1.pkl": (
        lambda path: read_published_shots(path.parent, load_dataset("digits"), shots=1, seed=1),
        DataError,
    ),
    "shot_1-seed_1.json": (
        lambda path: read_published_shots(path, load_dataset("digits"), shots=1, seed=1),
        DataError,
    ),
    "digits.arrow": (ImageTable, DataError),
    "table.csv": (lambda path: load_dataset("mine", path), DataError),
    "table.parquet": (lambda path: load_dataset("mine", path), DataError),
    "a.png": (lambda path: FolderSource(path.parent).open_image(path.name), DataError),
    "config.json": (lambda path: TrialFolder(path.parent).read_config(), FolderError),
    "registered.json": (lambda path: StudyFolder(path.parent).read_registration(), FolderError),
}
"""What reads a file that a stranger may have written, and its error, by the file's name."""


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_planted_pickle_is_refused_and_never_run(
    name: str, form: str, trace: Path, tmp_path: Path
):
    read, error = PLACES[name]
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / name
    if form == "torch":
        torch_file(trace, path)
    else:
        path.write_bytes(pickle.dumps({"x": Planted(trace)}))
    with pytest.raises(error, match=name):
        read(path)
    assert not trace.exists()


def test_the_trap_itself_works(trace: Path):
    pickle.loads(pickle.dumps({"x": Planted(trace)}))
    assert trace.exists()


def test_the_state_of_a_trial_that_is_a_pickle_costs_its_epochs_alone(trace: Path, tmp_path: Path):
    torch_file(trace, tmp_path / "state.safetensors")
    assert load_state(TrialFolder(tmp_path)) is None
    assert not trace.exists()


@pytest.fixture
def checkpoint(tiny_backbone: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to which a stranger may have added files."""
    return Path(shutil.copytree(tiny_backbone, tmp_path / "clip"))


def test_pickles_beside_sound_weights_are_left_alone_and_are_no_weights(
    tiny_backbone: Path, checkpoint: Path, trace: Path
):
    for name in ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl"):
        torch_file(trace, checkpoint / name)
    assert load_backbone(checkpoint).fingerprint == load_backbone(tiny_backbone).fingerprint
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="safetensors"):
        load_backbone(checkpoint)
    assert not trace.exists()


def test_code_that_comes_with_a_checkpoint_is_never_run_and_never_asked_about(
    checkpoint: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
):
    (checkpoint / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\n"
        "from transformers import CLIPTokenizer as Planted, CLIPModel, CLIPImageProcessor\n"
    )
    for name in ("tokenizer_config.json", "config.json", "preprocessor_config.json"):
        path = checkpoint / name
        if path.exists():
            values = json.loads(path.read_text())
            values["auto_map"] = {
                "AutoTokenizer": ["planted.Planted", "planted.Planted"],
                "AutoModel": "planted.CLIPModel",
                "AutoImageProcessor": "planted.CLIPImageProcessor",
            }
            if name == "tokenizer_config.json":
                values["tokenizer_class"] = "Planted"
            path.write_text(json.dumps(values))
    ask = Mock(return_value="y\n")
    monkeypatch.setattr("builtins.input", ask)
    with suppress(BackboneError):
        load_backbone(checkpoint)
    assert not trace.exists()
    ask.assert_not_called()
