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
from study.data.readers.benchmarks import LAYOUTS
from study.data.shots import read_shots
from study.errors import BackboneError, DataError, DeltaError, StudyError
from study.method.delta import load_delta
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder


class Planted:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What a planted pickle touches."""
    return tmp_path / "trace"


@pytest.fixture
def poison(trace: Path) -> bytes:
    """A pickle that touches the trace when it is loaded."""
    data = pickle.dumps({"x": Planted(trace)})
    pickle.loads(data)
    assert trace.exists(), "the trap itself works"
    trace.unlink()
    return data


@pytest.fixture
def checkpoint(tiny_backbone: Path, tmp_path: Path) -> Path:
    """The files of a checkpoint, to change."""
    return Path(shutil.copytree(tiny_backbone, tmp_path / "clip"))


PLACES: dict[str, tuple[str, Callable[[Path], object], type[StudyError]]] = {
    "delta": ("delta.safetensors", load_delta, DeltaError),
    "split file": (
        LAYOUTS["dtd"].split,
        lambda path: load_dataset("dtd", path.parent),
        DataError,
    ),
    "shots of a study": ("shots.jsonl", read_shots, DataError),
    "decoded images": ("digits.arrow", ImageTable, DataError),
    "CSV": ("table.csv", lambda path: load_dataset("mine", path), DataError),
    "Parquet": ("table.parquet", lambda path: load_dataset("mine", path), DataError),
    "image": ("a.png", lambda path: FolderSource(path.parent).open_image(path.name), DataError),
    "ledger": ("config.json", lambda path: TrialFolder(path.parent).read_config(), LedgerError),
    "winner": (
        "registered.json",
        lambda path: StudyFolder(path.parent).read_registration(),
        LedgerError,
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_planted_pickle_is_refused_and_never_run(
    place: str, form: str, poison: bytes, trace: Path, tmp_path: Path
) -> None:
    name, read, error = PLACES[place]
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / name
    path.write_bytes(poison)
    if form == "torch":
        torch.save({"x": Planted(trace)}, path)
    with pytest.raises(error) as told:
        read(path)
    assert name in str(told.value)
    assert not trace.exists()


def test_a_checkpoint_of_pickled_weights_alone_is_refused(checkpoint: Path, trace: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"x": Planted(trace)}, checkpoint / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="safetensors"):
        load_backbone(checkpoint)
    assert not trace.exists()


def test_pickles_beside_sound_weights_are_left_alone(
    checkpoint: Path, tiny_backbone: Path, poison: bytes, trace: Path
) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl"):
        (checkpoint / name).write_bytes(poison)
    assert load_backbone(checkpoint).fingerprint == load_backbone(tiny_backbone).fingerprint
    assert not trace.exists()


CLASSES = {
    "AutoTokenizer": ["planted.Planted", "planted.Planted"],
    "AutoModel": "planted.CLIPModel",
    "AutoImageProcessor": "planted.CLIPImageProcessor",
}


def test_code_that_comes_with_a_checkpoint_is_never_run_and_never_asked_about(
    checkpoint: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\n"
        "from transformers import CLIPTokenizer as Planted, CLIPModel, CLIPImageProcessor\n"
    )
    for name in ("tokenizer_config.json", "config.json", "preprocessor_config.json"):
        path = checkpoint / name
        values = json.loads(path.read_text()) | {"auto_map": CLASSES}
        if name == "tokenizer_config.json":
            values["tokenizer_class"] = "Planted"
        path.write_text(json.dumps(values))
    ask = Mock(return_value="y\n")
    monkeypatch.setattr("builtins.input", ask)
    with suppress(BackboneError):
        load_backbone(checkpoint)
    assert not trace.exists()
    ask.assert_not_called()
