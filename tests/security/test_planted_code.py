"""A file from a stranger may hold code; wherever it is put, it is refused and never run."""

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

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


@pytest.fixture
def poison(trace: Path) -> bytes:
    """A pickle that touches the trace when it is loaded."""
    data = pickle.dumps({"x": Planted(trace)})
    pickle.loads(data)
    assert trace.exists(), "the trap itself works"
    trace.unlink()
    return data


def torch_file(trace: Path, path: Path):
    """Write a pickle as PyTorch does, in an archive."""
    torch.save({"x": Planted(trace)}, path)


def copied(source: Path, target: Path) -> Path:
    """Copy the files of a checkpoint."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


PLACES: dict[str, tuple[str, Callable[[Path], object], type[StudyError]]] = {
    "delta": ("delta.safetensors", load_delta, DeltaError),
    "split file": (
        LAYOUTS["dtd"].split,
        lambda path: load_dataset("dtd", path.parent),
        DataError,
    ),
    "shots of a study": ("shots.jsonl", read_shots, DataError),
    "published shots, pickled": (
        "shot_1-seed_1.pkl",
        lambda path: read_published_shots(path.parent, load_dataset("digits"), shots=1, seed=1),
        DataError,
    ),
    "published shots": (
        "shot_1-seed_1.json",
        lambda path: read_published_shots(path, load_dataset("digits"), shots=1, seed=1),
        DataError,
    ),
    "decoded images": ("digits.arrow", ImageTable, DataError),
    "CSV": ("table.csv", lambda path: load_dataset("mine", path), DataError),
    "Parquet": ("table.parquet", lambda path: load_dataset("mine", path), DataError),
    "image": ("a.png", lambda path: FolderSource(path.parent).open_image(path.name), DataError),
    "folder": ("config.json", lambda path: TrialFolder(path.parent).read_config(), FolderError),
    "registration": (
        "registered.json",
        lambda path: StudyFolder(path.parent).read_registration(),
        FolderError,
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_planted_pickle_is_refused_and_never_run(
    place: str, form: str, poison: bytes, trace: Path, tmp_path: Path
):
    name, read, error = PLACES[place]
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / name
    path.write_bytes(poison)
    if form == "torch":
        torch_file(trace, path)
    with pytest.raises(error) as message:
        read(path)
    assert name in str(message.value)
    assert not trace.exists()


def test_the_state_of_a_trial_that_is_a_pickle_costs_its_epochs_alone(trace: Path, tmp_path: Path):
    torch_file(trace, tmp_path / "state.safetensors")
    assert load_state(TrialFolder(tmp_path)) is None
    assert not trace.exists()


def test_a_checkpoint_of_pickled_weights_alone_is_refused(
    tiny_backbone: Path, trace: Path, tmp_path: Path
):
    folder = copied(tiny_backbone, tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    torch_file(trace, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="safetensors"):
        load_backbone(folder)
    assert not trace.exists()


def test_pickles_beside_sound_weights_are_left_alone(
    tiny_backbone: Path, poison: bytes, trace: Path, tmp_path: Path
):
    folder = copied(tiny_backbone, tmp_path / "clip")
    for name in ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "vocab.pkl"):
        (folder / name).write_bytes(poison)
    assert load_backbone(folder).fingerprint == load_backbone(tiny_backbone).fingerprint
    assert not trace.exists()


@pytest.mark.parametrize("answer", ["y\n", ""])
def test_code_that_comes_with_a_checkpoint_is_never_run_and_never_asked_about(
    tiny_backbone: Path,
    trace: Path,
    tmp_path: Path,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
):
    folder = copied(tiny_backbone, tmp_path / "clip")
    (folder / "planted.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\n"
        "from transformers import CLIPTokenizer as Planted, CLIPModel, CLIPImageProcessor\n"
    )
    for name in ("tokenizer_config.json", "config.json", "preprocessor_config.json"):
        path = folder / name
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
    asked = []

    def ask(text: str = "") -> str:
        asked.append(text)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    with suppress(BackboneError):
        load_backbone(folder)
    assert not trace.exists()
    assert asked == []
