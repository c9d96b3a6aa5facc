"""The pages of a study, in MLflow and its own report, seen by a real browser."""

import re
from typing import Any

import pytest
from mlflow import MlflowClient

from study.commands.write_results import write_results
from study.data.records import Record
from study.data.tasks import Part, Task
from study.results.study_result import read_study_result
from study.storage.trial_folder import End
from study.tracking.mlflow.mlflow_internals import viewing_hints
from tests.browser import Browser
from tests.not_none import not_none
from tests.real_study import BEST
from tests.tracking.mlflow.records import started

pytestmark = [pytest.mark.long, pytest.mark.ci]

TABLES = """[...document.querySelectorAll("table")].map((table) =>
  [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim())))"""
# The name and the words of each row of MLflow's table, which has them in two parts, and whether its
# sign is red.
ROWS = """(() => {
  const rows = {};
  for (const part of document.querySelectorAll(".ag-row")) {
    const at = part.getAttribute("row-index");
    rows[at] ??= {name: "", words: [], failed: false};
    rows[at].name ||= part.querySelector("a")?.textContent ?? "";
    for (const cell of part.querySelectorAll("[role=gridcell]")) {
      rows[at].words.push(cell.innerText.trim());
      const sign = cell.getAttribute("col-id") === "runDateAndNestInfo"
        ? cell.querySelector("[role=img]") : null;
      if (!sign) continue;
      const [red, green] = getComputedStyle(sign).color.match(/\\d+/g).map(Number);
      rows[at].failed = red > green;
    }
  }
  return Object.keys(rows).sort((a, b) => a - b).map((at) => rows[at]).filter((row) => row.name);
})()"""
TASK = Task(
    Part("train", (Record("a/1", 0), Record("b/1", 1)), (0, 1)),
    (Part("accuracy", (Record("a/2", 0),), (0, 1)),),
)
SCORE = r"\d\d\.\d (± \d+\.\d|\[.*\]|\(no interval\))"
WIDE = 700
"""Pixels; wider than any of MLflow's own pictures, and less than two panels."""
STOPPED = {"ln_lr": 0.08404840643566887, "bias_lr": 0.003068605962732783}


class Sent:
    """A finished study that a server has, and the addresses that its end printed."""

    def __init__(self, study: Any, server: str):
        self.server = server
        tracker = started(study, server)
        tracker.register()
        write_results(read_study_result(study.folder.path))
        lines = tracker.close(finished=True)
        assert lines.missing == ""
        self.pages = dict(lines.hints)
        self.version = study.folder.read_registration()
        experiment = MlflowClient(server).get_experiment_by_name(study.config.tracking.experiment)
        self.experiment_id = not_none(experiment).experiment_id


@pytest.fixture(scope="module")
def sent(finish: Any, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """A study of which one trial was stopped and one failed."""
    study = finish(tmp_path_factory.mktemp("paged"), "paged")
    split_hash = study.record_tasks(TASK)
    for number, score in ((3, 0.6123456789), (4, 0.5)):
        trial = study.folder.trial(f"search-{number:04d}")
        study.validate(number, score, split_hash=split_hash, **BEST | STOPPED)
        end = End("stopped", 2, 2.0, reason="successive halving at epoch 2")
        trial.write_end(end if number == 3 else End("failed", 2, 2.0, reason="boom", error="boom"))
    return Sent(study, mlflow_server)


def test_the_printed_link_opens_the_study_and_leads_to_its_report(browser: Browser, sent: Sent):
    browser.open(sent.pages["page"])
    line = sent.version.loading_line
    text = browser.wait_for_text(line, "Child runs", "Metrics (2)", "test_score", "digits (")
    assert "Model registry" in text
    assert "Playground" not in text, "the menu is that of generative models"
    assert "test_accuracy" not in text
    (scores, *_) = browser.evaluate(TABLES)
    assert [row[0] for row in scores][:2] == ["candidate", "best by validation ★"]
    assert re.fullmatch(SCORE, scores[1][1])
    browser.click("Artifacts")
    browser.wait_for_text("leaderboard.csv")
    browser.click("report.html")
    browser.wait_for_text("What was asked", "What to use")
    browser.click("plots")
    browser.click("pareto.png")
    browser.wait_for(f"[...document.images].some((one) => one.naturalWidth > {WIDE})")
    browser.open(viewing_hints(sent.server, sent.experiment_id, "", "tested")[1][1])
    browser.wait_for_text("★ best · seed 1", "★ best · seed 2", "label: best, study: paged")


def test_trials_are_ordered_by_score_rounded_and_failed_alone_has_a_cross(
    browser: Browser, sent: Sent
):
    browser.open(sent.pages["trials"])
    subset = "text.mlp.fc2.bias + vision.ln"
    best, other = f"★ {subset} @ 0.05, 0.1", f"{subset} @ 0.0031, 0.084"
    browser.wait_for_text("5 matching runs", best, other, "bias_lr")
    browser.wait_for(f"{ROWS}.length > 4")
    rows = browser.evaluate(ROWS)
    shown = [row["name"] for row in rows]
    assert shown[0] == best
    assert shown[-2:] == [other, other], "the stopped one, and the one that failed"
    assert [row["failed"] for row in rows] == [False, False, False, False, True]
    assert {"0.61235", subset, "0.0030686", "0.084048"} <= {*rows[3]["words"]}
    words = [word for row in rows for word in row["words"] if "@" not in word]
    longest = max((re.sub(r"\D", "", word) for word in words), key=len)
    assert len(longest) <= 8, "a number has more digits"
