"""The architecture of a checkpoint is read from its configuration, and its numbers counted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.backbones.architecture import Architecture, EncoderShape
from study.backbones.description import read_architecture
from study.errors import BackboneError
from study.method.parameters import count_parameters
from study.method.subsets import parse
from tests.small_clips import set_value

VIT_B_16 = Architecture(
    EncoderShape(12, 512, 2048), EncoderShape(12, 768, 3072), image_size=224, dim=512
)


@pytest.mark.parametrize(
    "subset, count",
    [
        ("clipfit", 46_080),  # as the paper has it
        ("bitfit", 155_648),  # fc1 has four times the width, and each block three more biases
        ("clipfit - vision.ln[0:6]", 27_648),
    ],
)
def test_the_counts_of_published_models_are_known_without_their_weights(subset: str, count: int):
    assert count_parameters(VIT_B_16, parse(subset).resolve(VIT_B_16.depths)) == count


def test_a_folder_is_another_checkpoint_if_a_file_differs_that_features_depend_on(checkpoint: Path):
    known = read_architecture(checkpoint).checkpoint
    for name in ("model.safetensors", "preprocessor_config.json", "tokenizer.json", "README.md"):
        with (checkpoint / name).open("ab") as file:
            file.write(b" ")
        found = read_architecture(checkpoint).checkpoint
        assert (found != known) == (name != "README.md")
        known = found


def set_in(encoder: str | None, key: str, value: object) -> Callable[[Path], object]:
    return lambda folder: set_value(folder, encoder, key, value)


def remove_all(folder: Path):
    for path in folder.iterdir():
        path.unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (remove_all, r"lacks weights in safetensors format and config\.json"),
    "cut": (lambda f: (f / "config.json").write_text("{"), "cannot be found or read"),
    "another model": (set_in(None, "model_type", "bert"), "is a 'bert' model"),
    "no layers": (
        set_in("text_config", "num_hidden_layers", 0),
        r"doesn't describe a CLIP .*text encoder.*\(0, 32, 64\)",
    ),
    "a width in words": (set_in("vision_config", "hidden_size", "wide"), "doesn't describe a CLIP"),
    "nothing": (shutil.rmtree, "is not a folder"),
}


@pytest.mark.parametrize("damage, message", FAULTS.values(), ids=FAULTS)
def test_a_folder_that_describes_no_checkpoint_is_an_error_that_names_it(
    checkpoint: Path, damage: Callable[[Path], object], message: str
):
    damage(checkpoint)
    with pytest.raises(BackboneError, match=f"(?s)'{checkpoint}' .*{message}"):
        read_architecture(checkpoint)


@pytest.mark.parametrize(
    "name", ["./none", "~/none", "a/b/c", "here/none", "here/file", "my clip", "clïp", "a\0b"]
)
def test_a_name_that_means_a_folder_is_not_looked_for_on_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()
    message = r"is not a folder: .* (does not exist|is a file); expected a hub name"
    with pytest.raises(BackboneError, match=message):
        read_architecture(name)
