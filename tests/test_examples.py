"""The Python examples of the pages, run on a finished study."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import study
from study.commands.find import built_in_file
from study.config.loading import load_config

ROOT = Path(__file__).parent.parent
RUN_ELSEWHERE = {
    *("study/api.md", "study/method/README.md", "study/tracking/README.md"),
    "CONTRIBUTING.md",  # whose examples show a style
}
"""Pages whose examples other tests run."""


def examples(page: Path) -> list[str]:
    """Return the blocks of Python of a page."""
    return re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text())


@pytest.fixture
def finished(finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A study ``mine`` in the storage of the working folder, which has images too."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(12):
        Image.new("L", (8, 8), number).save(f"photos/{number}.png")
    Image.new("L", (8, 8), 99).save("photo.png")
    return finish(tmp_path / "runs", "mine")


def test_the_example_of_the_readme_runs(finished: Any, monkeypatch: pytest.MonkeyPatch):
    def run_study(name: str, overrides: dict[str, Any], dataset: study.Dataset) -> Any:
        words = [f"{key}={value}" for key, value in overrides.items()]
        load_config(built_in_file(name), words)
        assert (dataset.name, len(dataset.records)) == ("pets", 12)
        return study.open_study("mine")

    own = study.load_model("mine")
    monkeypatch.setattr(study, "run_study", run_study)
    monkeypatch.setattr(study, "load_model", lambda _: own)
    paths = sorted(str(path) for path in Path("photos").iterdir())
    (example,) = examples(ROOT / "README.md")
    exec(example, {"frame": pd.DataFrame({"path": paths, "class_name": ["cat", "dog"] * 6})})


@pytest.mark.parametrize("package", ["results", "serving"])
def test_the_example_of_a_package_runs(package: str, finished: Any):
    (example,) = examples(ROOT / "study" / package / "README.md")
    (delta,) = Path("runs/mine/trials").glob("test-*seed1/delta.safetensors")
    example = re.sub(r"runs/NAME/trials/test-\w+-seed1", delta.parent.as_posix(), example)
    exec(example.replace("NAME", "mine"), {})


def test_every_example_is_run():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("study/**/*.md"), *ROOT.glob("configs/**/*.md")]
    found = {page.relative_to(ROOT).as_posix() for page in pages if examples(page)}
    here = {"README.md", "study/results/README.md", "study/serving/README.md"}
    assert found == here | RUN_ELSEWHERE
