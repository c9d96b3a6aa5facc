"""The architecture of a checkpoint is read from its configuration, and its numbers counted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture, read_family
from study.errors import BackboneError
from study.method.model import FewShotClassifier, model_depths
from study.method.parameters import count_numbers
from study.method.subsets import parse
from tests.case_tables import from_table
from tests.openclips import write_open_clip
from tests.siglips import save_siglip
from tests.small_clips import set_value


@from_table
def test_what_is_read_counts_as_the_model_itself_does(
    checkpoint: Path, backbone: Backbone, subset: str
):
    architecture = read_architecture(checkpoint)
    assert architecture.depths == model_depths(backbone.clip)
    assert architecture.image_size == backbone.image_size
    numbers = sum(t.parameter.numel() for t in FewShotClassifier(backbone, parse(subset)).tuned)
    assert count_numbers(architecture, parse(subset).resolve(architecture.depths)) == numbers


@from_table
def test_a_folder_is_another_checkpoint_where_a_file_differs_that_features_depend_on(
    checkpoint: Path, name: str, counts: bool
):
    before = read_architecture(checkpoint).checkpoint
    assert read_architecture(checkpoint).checkpoint == before
    with (checkpoint / name).open("ab") as file:
        file.write(b" ")
    assert (read_architecture(checkpoint).checkpoint != before) == counts


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights in safetensors"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "cut": (lambda f: (f / "config.json").write_text("{"), "cannot be found or read"),
    "another model": (lambda f: set_value(f, None, "model_type", "bert"), "is a 'bert' model"),
    "no layers": (
        lambda f: set_value(f, "text_config", "num_hidden_layers", 0),
        r"describes no CLIP .*text encoder.*\(0, 32, 64\)",
    ),
    "a width in words": (
        lambda f: set_value(f, "vision_config", "hidden_size", "wide"),
        "describes no CLIP",
    ),
    "nothing": (shutil.rmtree, "is not there; allowed is a folder with"),
}


@pytest.mark.parametrize("damage, told", FAULTS.values(), ids=FAULTS)
def test_a_folder_that_describes_no_checkpoint_is_an_error_that_names_it(
    checkpoint: Path, damage: Callable[[Path], object], told: str
):
    damage(checkpoint)
    with pytest.raises(BackboneError, match=f"(?s)'{checkpoint}' .*{told}"):
        read_architecture(checkpoint)


def test_all_that_a_folder_lacks_is_named_at_once(tmp_path: Path):
    with pytest.raises(BackboneError, match=r"no weights in .* and no config\.json in its folder"):
        read_architecture(tmp_path)


@from_table
def test_a_name_that_means_a_folder_is_not_looked_for_on_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()
    told = r"is no folder: .* is (not there|a file); allowed is .* or a name of the hub$"
    with pytest.raises(BackboneError, match=told):
        read_architecture(name)


def test_a_name_longer_than_a_file_may_have_is_told():
    with pytest.raises(BackboneError, match="backbone 'aaa"):
        read_architecture("a" * 300)


def test_the_family_is_read_without_the_weights(checkpoint: Path, tmp_path: Path):
    assert read_family(checkpoint) == "clip"
    assert read_family(save_siglip(tmp_path / "siglip")) == "siglip"
    write_open_clip(tmp_path / "open", {})
    assert read_family(tmp_path / "open") == "clip"
    set_value(checkpoint, None, "model_type", "bert")
    assert read_family(checkpoint) is None
    (checkpoint / "config.json").write_text("{")
    assert read_family(checkpoint) is None
