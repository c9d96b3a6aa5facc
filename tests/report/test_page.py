"""The report needs nothing from outside, escapes everything, and claims nothing unsupported."""

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from study.data.datasets import load_dataset
from study.data.records import Dataset, Record
from study.method.delta import head_tensors, save_delta
from study.method.head import Head
from study.report.charts import Chart
from study.report.page import render_report, write_report
from study.report.plots import make_plots
from study.report.verdict import headline
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.changed_studies import board_of, change_json, configure, forget_images
from tests.fake_ledger import predictions_of
from tests.fake_studies import edit_candidates
from tests.not_none import not_none
from tests.report.said_cases import SAID, assert_said, prepare

EVIL = "<script>alert('x')</script>"


class StringSource:
    """A source that has one image for every path."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def open_image(self, path: str) -> Image.Image:
        return self._image


def show_glyphs(folder: Path) -> Path:
    """Let a study's winner have predictions of the test images that its dataset has."""
    test = load_dataset("glyphs").test
    names = load_dataset("glyphs").class_names
    for seed in range(1, 6):
        predictions = [
            Prediction(
                "accuracy", r.path, names[r.label], names[r.label - (n % 3 == 0)], 0.3 + n / 1e4
            )
            for n, r in enumerate(test)
        ]
        trial = folder / f"trials/confirm-best-seed{seed}"
        (trial / "predictions.parquet").write_bytes(predictions_to_parquet(predictions))
    return folder


class Outline(HTMLParser):
    """Collects the tags and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag not in ("script", "style"):
            self.text.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(outline(page).text))


def rendered(folder: Path, plots: Sequence[Chart] | None = None) -> str:
    results = read_results(folder)
    board = leaderboard(results)
    return render_report(results, board, make_plots(results, board) if plots is None else plots)


@pytest.fixture(scope="module")
def report(drawn_study: tuple[Path, tuple[Chart, ...]]) -> str:
    folder, plots = drawn_study
    results = read_results(folder)
    return write_report(results, leaderboard(results), plots).read_text(encoding="utf-8")


def test_nothing_is_fetched_from_outside(report: str) -> None:
    for tag, attributes in outline(report).tags:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "default-src 'none'" in report
    assert "@import" not in report.split("</style>")[0]


def test_it_reads_on_a_phone_and_in_the_dark(report: str) -> None:
    metas = [attributes for tag, attributes in outline(report).tags if tag == "meta"]
    (viewport,) = [a["content"] for a in metas if a.get("name") == "viewport"]
    assert "device-width" in not_none(viewport)
    assert "prefers-color-scheme: dark" in report
    tables = report.count("<table>")
    assert tables == report.count('<div class="scroll"><table>') > 5


def test_it_is_small_runs_nothing_and_every_figure_has_its_picture(report: str) -> None:
    tags = [tag for tag, _ in outline(report).tags]
    assert "script" not in tags
    assert "script-src" not in report
    assert len(report) < 1_500_000
    pictures = re.findall('<div class="drawing"><img alt="([^"]+)" src="([^"]+)">', report)
    assert len(pictures) == tags.count("img") == 7
    for _, source in pictures:
        kind, _, content = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        ElementTree.fromstring(base64.b64decode(content))


def test_it_answers_what_was_asked_found_and_how_sure(report: str) -> None:
    text = text_of(report)
    for part in ("How sure", "Most frequent confusions", "What mattered", "All trials"):
        assert part in text, part


def test_the_first_sentence_is_the_number_and_the_second_what_is_tuned(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=0.05)
    page = rendered(folder, plots=())
    box = text_of(page.split('<section class="verdict">')[1].split("</section>")[0]).strip()
    sentence = " ".join(not_none(headline(board_of(folder))))
    assert box.startswith(f"{sentence} It tunes text.")
    assert ", text encoder" in box.partition("Against tuned CLIPFit")[0]
    assert box.lower().count("always naming") == 1


def test_the_parts_of_an_interval_are_shown_when_the_mouse_rests_on_it(
    few_shot_study: Path,
) -> None:
    page = rendered(few_shot_study, plots=())
    cells = re.findall(r'<td title="([^"]+)">[^<]+±[^<]+</td>', page)
    assert len(cells) >= 7
    assert all("over test images alone " in title for title in cells)


@pytest.mark.parametrize("case", SAID["report"].values(), ids=SAID["report"])
def test_a_report_has_what_its_study_has(few_shot_study: Path, case: dict[str, Any]) -> None:
    page = rendered(prepare(few_shot_study, case), plots=())
    assert_said(text_of(page), case)


def test_pictures_are_shown_with_a_warning_what_they_are_not_for(few_shot_study: Path) -> None:
    page = rendered(show_glyphs(few_shot_study), plots=())
    gallery = page.split("Images to look at")[1].split("<h2>")[0]
    assert gallery.count('<img class="small"') == 24
    text = text_of(gallery)
    assert "needs other test images" in text
    assert re.search(r"taken for .{1,30}, \d\d\.\d % is .{1,30} wrong with 5 of 5 seeds", text)
    assert "shown without a picture" not in text


def test_a_report_of_images_that_are_gone_says_so_and_names_no_folder(
    few_shot_study: Path, tmp_path: Path
) -> None:
    folder = show_glyphs(few_shot_study)
    configure(folder, "data.dataset=pets", f"data.root={tmp_path}/pets-are-gone")
    page = rendered(folder, plots=())
    assert "There are no pictures: the test images are not where they were" in page
    assert "data:image" not in page
    # Once as the configuration has it, once in the command that repeats it.
    assert page.count("pets-are-gone") == 2


def test_a_model_without_mistakes_is_said_to_have_none(few_shot_study: Path) -> None:
    glyphs = load_dataset("glyphs")
    record = glyphs.test[0]
    name = glyphs.class_names[record.label]
    kept = show_glyphs(few_shot_study) / "trials/confirm-best-seed1/predictions.parquet"
    kept.write_bytes(predictions_to_parquet([Prediction("accuracy", record.path, name, name, 0.9)]))
    text = text_of(rendered(few_shot_study, plots=()))
    assert "With this seed no test image is mistaken." in text
    assert "The most confident mistakes" not in text


def test_names_and_paths_of_images_are_escaped(few_shot_study: Path) -> None:
    forget_images(few_shot_study)
    evil = f'"{EVIL}'
    predictions = [Prediction("accuracy", evil, evil, name, 0.9) for name in ("a", evil)]
    kept = few_shot_study / "trials/confirm-best-seed1/predictions.parquet"
    kept.write_bytes(predictions_to_parquet(predictions))
    source = StringSource(Image.new("RGB", (9, 9)))
    known = Dataset("glyphs", (evil,), ("{}",), (), (), (Record(evil, 0),), source)
    results = read_results(few_shot_study)
    page = render_report(results, leaderboard(results), (), {"glyphs": known})
    assert page.count('<img class="small"') == 3
    assert_escaped(page)


def test_a_choice_after_an_extension_is_not_said_to_precede_the_test(few_shot_study: Path) -> None:
    claim = "Validation chose it, before any test image was read."
    assert claim in rendered(few_shot_study, plots=())
    extended = [{"from": 20, "to": 35, "candidates": ["best"]}]
    (few_shot_study / "extensions.json").write_text(json.dumps(extended))
    page = rendered(few_shot_study, plots=())
    assert "before any test image was read" not in page
    assert "Validation chose it, in a search that was extended after an earlier choice had" in page


def test_search_trials_are_shown_without_test_numbers(few_shot_study: Path) -> None:
    page = rendered(few_shot_study, plots=())
    searched = page.split("search trials, by validation score")[1].split("</table>")[0]
    assert "validation %" in searched
    assert "test %" not in searched
    assert searched.count("<tr>") == 35 + 1


def test_names_from_files_are_escaped_in_tables_and_in_plots(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*/config.json"):
        change_json(path, label=EVIL)
    for path in few_shot_study.glob("trials/*/predictions.parquet"):
        path.write_bytes(
            predictions_to_parquet(predictions_of("accuracy", [EVIL, "b"], [[1, 1], [0, 0]]))
        )
    assert_escaped(rendered(few_shot_study))


def assert_escaped(page: str) -> None:
    assert "alert(" in page
    assert EVIL not in page
    assert not [tag for tag, _ in outline(page).tags if tag == "script"]


def test_it_tells_how_busy_the_search_was(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("search-*/reports.jsonl"):
        reports = [json.loads(line) for line in path.read_text().splitlines()]
        timed = [{**report, "ended_at": 2.0 * n} for n, report in enumerate(reports, 1)]
        path.write_text("".join(json.dumps(report) + "\n" for report in timed))
    text = text_of(rendered(few_shot_study, plots=()))
    assert "of the time was training" in text


def ran(folder: Path) -> dict[str, Any]:
    """Run the code by which the report loads the winner from the folder; give its variables."""
    blocks = re.findall("<pre>(.*?)</pre>", rendered(folder, plots=()), re.DOTALL)
    (code,) = (html.unescape(block) for block in blocks if "delta.safetensors" in block)
    variables: dict[str, Any] = {}
    exec(code, variables)
    return variables


def test_the_code_that_loads_the_winner_runs_and_has_its_head_if_it_has_one(
    tuned_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tuned_study)
    plain = ran(tuned_study)
    (name,) = plain["tensors"]
    tuned = dict(plain["backbone"].clip.named_parameters())[name]
    assert torch.equal(tuned, plain["tensors"][name])
    edit_candidates(tuned_study, add_head)
    head = Head(torch.eye(2, plain["backbone"].clip.projection_dim), (2, 0))
    delta = tuned_study / "trials/confirm-best-seed1/delta.safetensors"
    save_delta(delta, {**plain["tensors"], **head_tensors(head)}, plain["info"])
    Image.linear_gradient("L").save("image.png")
    classifier = ran(tuned_study)["classifier"]
    assert torch.equal(classifier.class_features[[2, 0]], head.rows)


def add_head(candidates: list[dict[str, Any]]) -> None:
    best = next(candidate for candidate in candidates if candidate["label"] == "best")
    best["settings"] |= {"head": "linear", "head_lr": 0.01, "head_steps": 30}


def test_a_study_before_its_confirm_stage_has_a_report_without_a_winner(
    unconfirmed_study: Path,
) -> None:
    text = text_of(rendered(unconfirmed_study, plots=()))
    assert "Nothing is confirmed on test yet" in text
    assert "There is no winner yet" in text


def test_an_ablation_has_its_table_and_plots_in_the_report(
    few_shot_study: Path, ablation_study: Path
) -> None:
    for trial in (ablation_study / "trials").iterdir():
        trial.rename(few_shot_study / "trials" / trial.name)
    configure(few_shot_study, "ablation={design: leave_one_out, rates: [0.01, 0.1]}")
    page = rendered(few_shot_study, plots=())
    assert "3 of 6 cells differ" in text_of(page)
    assert page.count('class="drawing"') == 2


def test_where_nothing_beats_chance_the_report_recommends_nothing(guessing_study: Path) -> None:
    text = text_of(rendered(guessing_study, plots=()))
    assert "accuracy on test for the choice" in text
    assert "Nothing: what validation chose does not beat chance on test." in text
    assert "★" not in text
    assert text.count("winner") == 1
    assert "zero-shot % choice % gain" in text, "its classes show why"
