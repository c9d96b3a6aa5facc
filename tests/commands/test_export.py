"""Exports: of which models they are, where they are written, and what is refused."""

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPModel

from study.config.loading import dump_config
from study.method.delta import load_delta, save_delta
from tests.commands.conftest import Run, enter_place_of


@pytest.fixture(scope="module")
def study(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished study with a linear head, in the folder ``runs``."""
    place = tmp_path_factory.mktemp("exported") / "runs"
    place.mkdir()
    return finish(place, "mine", linear=True)


@pytest.fixture(autouse=True)
def here(study: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of ``runs``."""
    return enter_place_of(study, monkeypatch)


@pytest.mark.parametrize("model", ["mine", "bare.safetensors"])
def test_a_study_and_a_file_alone_are_exported_with_what_is_known_of_them(
    delta: Path, model: str, run: Run, here: Path, tmp_path: Path
):
    (here / "bare.safetensors").write_bytes(delta.read_bytes())
    out = tmp_path / "out"
    said = run("export", model, "--format", "hf", "--out", out).out
    card = (out / "README.md").read_text()
    assert ("## Figures" in card) == (model == "mine")
    assert ("its study is not here" in said) == (model != "mine")
    assert str(tmp_path) not in card, "a card is shared"
    assert (out / "head.safetensors").exists()
    CLIPModel.from_pretrained(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_study_that_averages_templates_is_exported_with_their_mean(
    finish: Any, tmp_path: Path, run: Run
):
    study = finish(tmp_path, "averaged", linear=True)
    data = study.config.data.model_copy(update={"ensemble": True})
    study.folder.write_config(dump_config(study.config.model_copy(update={"data": data})))
    delta = study.folder.trial("test-best-seed1").path / "delta.safetensors"
    tensors, info = load_delta(delta)
    save_delta(delta, tensors, replace(info, templates=("a {}.", "the {}!")))
    run("export", delta, "--format", "hf", "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for part in ("75 %", "“a {}.”, “the {}!”", "unflatten(0, (-1, 2)).mean(dim=1)"):
        assert part in card


@pytest.mark.parametrize(
    "words, fault",
    [
        ("gone.safetensors --format hf", "gone.safetensors cannot be read"),
        ("mine --format zip", "--format is 'zip'; allowed are hf"),
        ("mine storage=elsewhere --format zip", "no study 'mine' in elsewhere"),
        ("mine --format hf", "is taken; allowed is a new or an empty folder"),
    ],
)
def test_a_fault_is_one_line_and_changes_nothing(
    words: str, fault: str, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "mine.txt").write_text("before")
    out = tmp_path if "taken" in fault else tmp_path / "out"
    assert fault in refused("export", *words.split(), "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_disk_that_takes_no_whole_model_is_one_line_and_leaves_nothing(
    delta: Path, tmp_path: Path, refused: Callable[..., str]
):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))
    try:
        told = refused("export", delta, "--format", "hf", "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{tmp_path / 'out'} cannot be written: " in told
    assert list(tmp_path.iterdir()) == []
