"""``clipfit-study export``: which model it takes, where it writes, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from transformers import CLIPModel

from study.commands import main
from study.config.loading import dump_config
from study.method.delta import load_delta, save_delta
from study.serving.exports import FORMATS


@pytest.fixture(scope="module")
def study(finish: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished study with a linear head, in the folder ``runs``."""
    place = tmp_path_factory.mktemp("exported") / "runs"
    place.mkdir()
    return finish(place, "mine", linear=True)


@pytest.fixture(autouse=True)
def here(study: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of ``runs``."""
    place: Path = study.folder.path.parent.parent
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place


@pytest.fixture
def delta(study: Any) -> Path:
    path: Path = study.folder.trial("confirm-best-seed1").path / "delta.safetensors"
    return path


@pytest.mark.parametrize("model", ["study", "bare"])
def test_a_study_and_a_file_alone_are_exported_with_what_is_known_of_them(
    delta: Path, model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(delta.read_bytes())
    word = "mine" if model == "study" else str(bare)
    out = tmp_path / "out"
    assert main(["export", word, "--format", "hf", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    card = (out / "README.md").read_text(encoding="utf-8")
    assert ("## Figures" in card) == (model != "bare")
    assert ("its study is not here" in said) == (model == "bare")
    assert str(tmp_path) not in card, "a card is shared"
    assert (out / "head.safetensors").exists()
    CLIPModel.from_pretrained(out)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_path_of_the_winners_delta_leads_to_the_export_of_the_study(
    finish: Callable[..., Any], tmp_path: Path
) -> None:
    study = finish(tmp_path, "averaged", linear=True)
    data = study.config.data.model_copy(update={"ensemble": True})
    study.folder.write_config(dump_config(study.config.model_copy(update={"data": data})))
    delta = study.folder.trial("confirm-best-seed1").path / "delta.safetensors"
    tensors, info = load_delta(delta)
    save_delta(delta, tensors, replace(info, templates=("a {}.", "the {}!")))
    models = {"study": study.folder.path, "path": delta}
    for out, model in models.items():
        assert main(["export", str(model), "--format", "hf", "--out", str(tmp_path / out)]) == 0
    cards = {out: (tmp_path / out / "README.md").read_text(encoding="utf-8") for out in models}
    for part in ("75 %", "“a {}.”, “the {}!”", "unflatten(0, (-1, 2)).mean(dim=1)"):
        assert part in cards["path"]
    named = "the winner of study 'averaged' (trial confirm-best-seed1)"
    by_path = "trial confirm-best-seed1 of study 'averaged'"
    assert cards["path"] == cards["study"].replace(named, by_path)
    ours, theirs = (
        {
            file.name: file.read_bytes()
            for file in (tmp_path / out).iterdir()
            if file.suffix != ".md"
        }
        for out in models
    )
    assert ours == theirs


def test_what_is_there_is_not_replaced(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("before")
    assert main(["export", str(delta), "--format", "hf", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} is taken; allowed is a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("nothing", "--format", "hf"), "no study 'nothing'"),
        (("gone.safetensors", "--format", "hf"), "gone.safetensors cannot be read"),
        (("mine", "--format", "zip"), "--format is 'zip'; allowed are hf"),
        (("mine", "storage=elsewhere", "--format", "hf"), "no study 'mine' in elsewhere"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(
    words: tuple[str, ...], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words, "--out", str(tmp_path / "out")]) == 2
    assert fault in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_fails_leaves_nothing(
    delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(saved: Any, model: Any, folder: Path) -> NoReturn:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, "hf", replace(FORMATS["hf"], write=full))
    assert main(["export", str(delta), "--format", "hf", "--out", str(tmp_path / "out")]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
