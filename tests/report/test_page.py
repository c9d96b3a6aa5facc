"""The report needs nothing from outside, escapes everything, and claims nothing unsupported."""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from study.data.datasets import load_dataset
from study.data.records import Dataset, Record
from study.method.delta import head_tensors, save_delta
from study.method.head import Head
from study.report.charts import Chart
from study.report.page import render_report, write_report
from study.report.plots import make_plots
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.browser import Browser
from tests.case_tables import from_table
from tests.changed_studies import board_of, change_json, configure, doubt_labels_of, forget_images
from tests.fake_ledger import predictions_of
from tests.fake_studies import add_answer, edit_candidates
from tests.report.conftest import AsKept, keep
from tests.report.said_cases import prepare

EVIL = "<script>alert('x')</script>"
AXE = files("axe_core_python") / "axe.min.js"
SERIOUS = """axe.run(document, %s).then((found) => found.violations
  .filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => one.id))"""
SORT = """(() => {
  const heading = document.querySelectorAll("th")[%d];
  heading.firstChild.click();
  const rows = [...heading.closest("table").tBodies[0].rows];
  return [heading.ariaSort, rows.map((row) => row.cells[heading.cellIndex].textContent)];
})()"""
PAGES = yaml.safe_load(Path(__file__).with_name("pages.yaml").read_text())


def show_glyphs(folder: Path) -> Path:
    """Let a study's winner have predictions of the test images that its dataset has."""
    glyphs = load_dataset("glyphs")
    names = glyphs.class_names
    predictions = []
    for n, record in enumerate(glyphs.test):
        taken = names[record.label - (n % 3 == 0)]
        seen = Prediction(
            "text", "accuracy", record.path, names[record.label], taken, 0.3 + n / 1e4
        )
        predictions.append(seen)
    for seed in range(1, 6):
        keep(folder, seed, predictions)
    return folder


class Outline(HTMLParser):
    """Collects the tags, and the text outside styles and scripts, a line for each block."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append((tag, dict(attrs)))
        self._text.append({"td": " | ", "th": " | ", "b": ""}.get(tag, "\n"))

    def handle_data(self, data: str):
        if self.lasttag not in ("style", "script"):
            self._text.append(data)

    @property
    def text(self) -> str:
        lines = [" ".join(line.split()) for line in "".join(self._text).splitlines()]
        return "\n".join(line for line in lines if line)


def rendered(folder: Path, plots: Sequence[Chart] = ()) -> str:
    return render_report(board_of(folder), plots)


def text_of(folder: Path) -> str:
    """Return the text of a study's report, without its configuration."""
    return Outline(re.sub('"Configuration">.*?</pre>', ">", rendered(folder), flags=re.DOTALL)).text


@pytest.fixture(scope="module")
def report(drawn_study: tuple[Path, tuple[Chart, ...]]) -> str:
    folder, plots = drawn_study
    return write_report(board_of(folder), plots).read_text()


def test_nothing_is_fetched_from_outside_and_no_script_but_its_own_is_run(report: str):
    tags = Outline(report).tags
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    (script,) = re.findall("<script>(.*?)</script>", report, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; style-src 'unsafe-inline'; " in report
    assert f"img-src data:; script-src 'sha256-{digest}'" in report
    assert "@import" not in report.split("</style>")[0]


@pytest.fixture
def shown(browser: Browser, drawn_study: tuple[Path, Any], report: str) -> Browser:
    """The report in a browser, by a link to one of its sections."""
    browser.open(f"file://{drawn_study[0]}/report.html#how-sure")
    browser.wait_for("document.readyState === 'complete' && location.hash === '#how-sure'")
    return browser


def test_a_link_opens_its_section_and_a_heading_sorts_its_table(shown: Browser):
    shown.wait_for("document.querySelector('#how-sure').closest('details').open")
    assert shown.evaluate("document.querySelectorAll('details[open]').length") == 1
    order, gains = shown.evaluate(SORT % 6)
    assert (order, gains[0], gains[-1]) == ("ascending", "−10.5 [−12.6, −8.3]", "–")
    order, gains = shown.evaluate(SORT % 6)
    assert (order, gains[0], gains[-1]) == ("descending", "+1.1 [−0.9, +3.0]", "–")
    order, names = shown.evaluate(SORT % 0)
    assert (order, names) == ("ascending", sorted(names, key=str.lower))


@pytest.mark.long
@from_table
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_window(
    shown: Browser, width: int, scheme: str, rules: str
):
    shown.show_as(width, scheme)
    shown.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    shown.evaluate(AXE.read_text())
    assert shown.evaluate(SERIOUS % rules) == []


def test_it_is_small_and_every_figure_has_its_picture(report: str):
    assert len(report) < 1_500_000
    assert report.count("<svg ") == 10
    texts = re.findall('<svg role="img" aria-label="([^"]+)" ', report)
    assert len(texts) == 10
    assert "winner 71.8 ± 3.6\N{NO-BREAK SPACE}%" in texts[0]
    assert "glyph f (base) 68.0\N{NO-BREAK SPACE}%" in texts[1]


def test_percent_signs_stay_with_their_numbers_and_code_stays_as_it_is(few_shot_study: Path):
    configure(few_shot_study, "data.templates=['a 5 % {}.']")
    text = rendered(few_shot_study)
    blocks = re.findall(r"<pre[^>]*>([^<]*a 5.%[^<]*)</pre>", text)
    assert blocks
    assert all("a 5 % {}." in block for block in blocks)
    assert "\N{NO-BREAK SPACE}%" in text.partition("</main>")[0]


def test_a_report_is_what_was_kept(base_to_new_study: Path, as_kept: AsKept):
    add_answer(base_to_new_study)
    as_kept("report", text_of(base_to_new_study))


@pytest.mark.parametrize("name", PAGES)
def test_what_a_report_opens_with_and_advises_is_what_was_kept(
    few_shot_study: Path, as_kept: AsKept, name: str
):
    text = text_of(prepare(few_shot_study, PAGES[name]))
    opening, _, rest = text.rpartition("\nHow sure\n")
    advice, _, _ = rest.partition("\nWhich choices mattered\n")
    as_kept(f"report-{name.replace(' ', '-')}", f"{opening}\n…\n{advice}")


def test_an_ablation_has_its_table_and_plots_in_the_report(
    few_shot_study: Path, ablation_study: Path
):
    for trial in (ablation_study / "trials").iterdir():
        trial.rename(few_shot_study / "trials" / trial.name)
    configure(few_shot_study, "ablation={design: leave_one_out, rates: [0.01, 0.1]}")
    page = rendered(few_shot_study)
    assert "3 of 6 cells" in page
    assert page.count('class="drawing"') == 2


def test_pictures_are_shown_with_a_warning_what_they_are_not_for(few_shot_study: Path):
    page = rendered(show_glyphs(few_shot_study))
    assert page.count('<img class="small"') == 24
    text = " ".join(Outline(page).text.split())
    assert "needs other test images" in text
    assert re.search(r"taken for .{1,30}, \d\d\.\d % is .{1,30} wrong with 5 of 5 seeds", text)
    assert "shown without a picture" not in text


def test_a_report_of_images_that_are_gone_says_so_and_names_no_folder(
    few_shot_study: Path, tmp_path: Path
):
    configure(few_shot_study, "data.dataset=pets", f"data.root={tmp_path}/pets-are-gone")
    page = rendered(few_shot_study)
    assert "There are no pictures: the test images are not where they were" in page
    # Once as the configuration has it, once in the command that repeats it.
    assert page.count("pets-are-gone") == 2


def test_a_model_without_mistakes_is_said_to_have_none(few_shot_study: Path):
    glyphs = load_dataset("glyphs")
    record = glyphs.test[0]
    name = glyphs.class_names[record.label]
    keep(few_shot_study, 1, [Prediction("text", "accuracy", record.path, name, name, 0.9)])
    text = text_of(few_shot_study)
    assert "With this seed no test image is mistaken." in text


def test_names_and_paths_of_images_are_escaped(few_shot_study: Path):
    forget_images(few_shot_study)
    evil = f'"{EVIL}'
    keep(
        few_shot_study,
        1,
        [Prediction("text", "accuracy", evil, evil, name, 0.9) for name in ("a", evil)],
    )
    source: Any = SimpleNamespace(open_image=lambda path: Image.new("RGB", (9, 9)))
    known = Dataset("glyphs", (evil,), ("{}",), (), (), (Record(evil, 0),), source)
    page = render_report(board_of(few_shot_study), (), {"glyphs": known})
    assert page.count('<img class="small"') == 3
    assert_escaped(page)


def test_labels_to_check_have_a_section_with_their_pictures_and_escaped_names(
    few_shot_study: Path,
):
    doubt_labels_of(few_shot_study, f"{EVIL}.png", ("cat", EVIL))
    page = rendered(few_shot_study)
    assert_escaped(page)
    _, _, section = Outline(page).text.rpartition("Labels to check\n")
    assert section.startswith("1 of 9 labels of training images are likely wrong.")
    assert f"no picture\ngiven cat\nsuggested {EVIL}\n" in section


def test_names_from_files_are_escaped_in_tables_and_in_plots(few_shot_study: Path):
    for path in few_shot_study.glob("trials/search-*/config.json"):
        change_json(path, label=EVIL)
    predictions = predictions_of("accuracy", [EVIL, "b"], [[1, 1], [0, 0]])
    for path in few_shot_study.glob("trials/*/predictions.parquet"):
        path.write_bytes(predictions_to_parquet(predictions))
    assert_escaped(rendered(few_shot_study, make_plots(board_of(few_shot_study))))


def assert_escaped(page: str):
    assert "alert(" in page
    assert EVIL not in page
    assert [tag for tag, _ in Outline(page).tags].count("script") == 1


def ran(folder: Path) -> dict[str, Any]:
    """Run the code by which the report loads the winner from the folder; give its variables."""
    blocks = re.findall("<pre[^>]*>(.*?)</pre>", rendered(folder), re.DOTALL)
    (code,) = (html.unescape(block) for block in blocks if "delta.safetensors" in block)
    variables: dict[str, Any] = {}
    exec(code, variables)
    return variables


def test_the_code_that_loads_the_winner_runs_and_has_its_head_if_it_has_one(
    tuned_study: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tuned_study)
    plain = ran(tuned_study)
    (name,) = plain["tensors"]
    tuned = dict(plain["backbone"].clip.named_parameters())[name]
    assert torch.equal(tuned, plain["tensors"][name])
    edit_candidates(tuned_study, add_head)
    head = Head(torch.eye(2, plain["backbone"].clip.projection_dim), (2, 0))
    delta = tuned_study / "trials/test-best-seed1/delta.safetensors"
    save_delta(delta, {**plain["tensors"], **head_tensors(head)}, plain["info"])
    Image.linear_gradient("L").save("image.png")
    classifier = ran(tuned_study)["classifier"]
    assert torch.equal(classifier.class_features[[2, 0]], head.rows)


def add_head(candidates: list[dict[str, Any]]):
    best = next(candidate for candidate in candidates if candidate["label"] == "best")
    best["settings"] |= {"head": "linear"}
