"""The report needs nothing from outside, escapes everything, and claims nothing unsupported."""

import json
import re
from collections.abc import Callable, Sequence
from html import escape, unescape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from study.data.records import Dataset, Record
from study.report.charts import Chart
from study.report.page import render_report
from study.report.study_charts import make_charts
from study.results.study_result import read_study_result
from study.storage.study_folder import REGISTERED, Registration
from study.trial.study import Prediction
from tests.browser import render
from tests.example_studies import ExampleStudy, predictions_of

EVIL = "<script>alert('x')</script>"
AXE = files("axe_core_python") / "axe.min.js"
SERIOUS = """axe.run(document, %s).then((found) => top.document.title = JSON.stringify([
  document.documentElement.scrollWidth, matchMedia("(prefers-color-scheme: dark)").matches,
  found.violations.filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => one.id)]))"""


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.found.append((tag, dict(attrs)))


def rendered(folder: Path, plots: Sequence[Chart] = ()) -> str:
    return render_report(read_study_result(folder), plots)


def lines_of(page: str) -> list[str]:
    """The text between the tags of a page."""
    body = page.partition("</style>")[2]
    return [unescape(text) for text in re.findall(r">\s*([^<>\s][^<>]*?)\s*<", body)]


def test_nothing_is_fetched_from_outside_and_no_script_is_run(report: str):
    tags = Tags(report).found
    assert not {"link", "iframe", "object", "base", "script"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri" in report
    assert "@import" not in report.split("</style>")[0]


def test_a_link_opens_its_section(drawn_study: tuple[Path, Any], report: str):
    assert "scores" in report
    page = render(f"file://{drawn_study[0]}/report.html#scores")
    (opened,) = re.findall(r"<details[^>]* open=[^>]*>.*?</details>", page, re.DOTALL)
    assert 'id="scores"' in opened


@pytest.mark.long
@pytest.mark.ci
# What a scheme can change is contrast alone.
@pytest.mark.parametrize(
    "width, dark, rules", [(1200, False, "{runOnly: ['color-contrast']}"), (390, True, "{}")]
)
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_window(
    report: str, tmp_path: Path, width: int, dark: bool, rules: str
):
    own = re.sub("<meta http-equiv=[^>]*>", "", report).replace("<details", "<details open")
    own += f"<script>{AXE.read_text()}</script><script>{SERIOUS % rules}</script>"
    framed = tmp_path / "framed.html"  # since no window is as narrow as a telephone
    style = f"width: {width}px; height: 900px; border: 0"
    framed.write_text(f'<iframe style="{style}" srcdoc="{escape(own)}"></iframe>')
    (title,) = re.findall("<title>(.*?)</title>", render(f"file://{framed}", dark=dark))
    assert json.loads(unescape(title)) == [width, dark, []]


def loading_blocks(page: str) -> list[str]:
    """Return the blocks of code in a report that load a delta."""
    return [text for text in lines_of(page) if "delta.safetensors" in text]


def test_the_delta_to_load_is_of_the_final_model_or_the_first_seed(few_shot_study: Path):
    trials = few_shot_study / "trials"
    for seed in (3, 2, 1):
        (trials / f"test-best-seed{seed}/delta.safetensors").touch()
    (code,) = loading_blocks(rendered(few_shot_study))
    assert "test-best-seed1" in code
    ExampleStudy(few_shot_study).add_final("labelled")
    (trial,) = trials.glob("final-*")
    (code,) = loading_blocks(rendered(few_shot_study))
    assert trial.name in code


def test_a_model_in_place_of_the_best_is_loaded_and_what_is_registered_is_named(
    few_shot_study: Path,
):
    study = ExampleStudy(few_shot_study)
    study.choose_full()
    (few_shot_study / "trials/test-best-with-delta-seed1/delta.safetensors").touch()
    registration = Registration("letters", "3", False, "the champion is better")
    study.folder.write_json(REGISTERED, registration)
    page = rendered(few_shot_study)
    (code,) = loading_blocks(page)
    assert "test-best-with-delta-seed1" in code
    text = " ".join(lines_of(page))
    assert "cannot be saved as a delta" in text
    assert "letters, version 3 (not champion)" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda study: study.drop("test-*"),
        lambda study: study.set_images(800, 100, 100, naming_the_largest=True),
    ],
)
def test_without_a_best_configuration_nothing_is_recommended(
    few_shot_study: Path, change: Callable[[ExampleStudy], object]
):
    change(ExampleStudy(few_shot_study))
    lines = lines_of(rendered(few_shot_study))
    assert lines[lines.index("Use the model") + 1 :].count(
        "This study has no best configuration, so it has no final model."
    )
    assert not [line for line in lines if "delta.safetensors" in line]


def test_names_and_paths_from_files_are_escaped(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    predictions = predictions_of("accuracy", [EVIL, "b"], [[1, 1], [0, 0]])
    for trial, config in study.folder.trials_of("search", "test"):
        if config["stage"] == "search":
            study.change(trial.trial_id, label=EVIL)
        else:
            study.predict(trial.trial_id, predictions)
    evil = f'"{EVIL}'
    seen = [Prediction("text", "accuracy", evil, evil, name, 0.9) for name in ("a", evil)]
    study.predict("test-best-seed1", seen)
    study.add_likely_mislabelled(f"{EVIL}.png", ("cat", EVIL))
    source: Any = SimpleNamespace(open_image=lambda path: Image.new("RGB", (9, 9)))
    known = Dataset("glyphs", (evil,), ("{}",), (), (), (Record(evil, 0),), source)
    result = read_study_result(few_shot_study)
    page = render_report(result, make_charts(result), {"glyphs": known})
    assert page.count("<img ") == 1
    assert page.count("alert(") > 10
    assert EVIL not in page
    assert "script" not in {tag for tag, _ in Tags(page).found}
    lines = lines_of(page)
    at = lines.index(f"{EVIL}.png")
    assert lines[at : at + 3] == [f"{EVIL}.png", "cat", EVIL]
    assert [line for line in lines if line.startswith("1 of 9 ")]


def test_the_code_that_loads_the_final_model_runs(
    tuned_study: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tuned_study)
    Image.linear_gradient("L").save("image.png")
    (code,) = loading_blocks(rendered(tuned_study))
    variables: dict[str, Any] = {}
    exec(code, variables)
    assert variables["model"].class_names == ("a", "b", "c")
