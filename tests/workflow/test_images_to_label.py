"""``clipfit-study predict --next``: what it chooses by, what it writes, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from study.method.delta import load_delta, save_delta
from study.trial.study import read_candidates
from tests.workflow.conftest import Run
from tests.workflow.test_image_labels import PHOTOS, here, rows, study

__all__ = ["here", "study"]  # fixtures
ALONE = "chosen by the margin alone: fewer than two"


def test_without_other_models_the_margin_chooses_and_broken_images_are_named(
    tmp_path: Path, run: Run
):
    Image.new("RGB", (9, 9)).save("=1.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    words = ("predict", "mine", "photos", "=1.png")
    said = run(*words, "photos", broken, "--next", "99", "--out", tmp_path / "next.csv")
    chosen = rows((tmp_path / "next.csv").read_text())
    assert sorted(row["path"] for row in chosen) == ["./=1.png", *(f"photos/{n}" for n in PHOTOS)]
    assert [row.pop("order") for row in chosen] == [*"123456"]
    assert {row.pop("disagreement") for row in chosen} == {"0.0"}
    labelled = rows(run(*words).out)
    for row in chosen:
        margin = float(row["probability_1"]) - float(row["probability_2"])
        assert float(row.pop("margin")) == pytest.approx(margin, abs=1e-6)
        assert row in labelled
    assert f"'{broken}' cannot be chosen: not a readable image" in said.err
    assert "--next 99: all 6 images are chosen" in said.err
    assert ALONE in said.err
    said = run("predict", "mine", broken, "--next", "3")
    assert (said.code, "none of 1 images could be read" in said.err) == (2, True)


def test_the_best_trials_say_how_much_they_disagree(finish: Any, tmp_path: Path, run: Run):
    two = finish(tmp_path, "two")
    two.confirm(1, "clipfit")
    (zero_shot, best) = read_candidates(two.folder) or ()
    second = best.model_copy(update={"label": "second", "same_as": "clipfit"})
    third = best.model_copy(update={"label": "third", "same_as": "clipfit"})
    values = [one.model_dump(mode="json") for one in (zero_shot, best, second, third)]
    two.folder.write_json("candidates.json", values)
    words = ("predict", "two", "photos", f"storage={tmp_path}", "--next", "3")
    same = run(*words)
    members = (
        "trial confirm-best-seed1 of study 'two', trial confirm-clipfit-seed1 of study 'two'\n"
    )
    assert f"chosen by the margin and the disagreement of {members}" in same.err
    delta = two.folder.trial("confirm-clipfit-seed1").path / "delta.safetensors"
    tensors, info = load_delta(delta)
    save_delta(delta, {name: -tensor for name, tensor in tensors.items()}, info)
    other = run(*words)
    assert [float(row["disagreement"]) for row in rows(same.out)] == [0, 0, 0]
    for row in rows(other.out):
        assert 0 < float(row["disagreement"]) <= 1
