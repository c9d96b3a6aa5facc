"""The pages of a study, in MLflow and its own report, seen by a real browser."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mlflow import MlflowClient

from study.data.records import Record
from study.data.tasks import Part, Task
from study.storage.study_folder import DESCRIPTION
from study.storage.trial_folder import End
from study.tracking.mlflow.mirror import sync_to_mlflow
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.trial.study import Study
from study.workflow.outputs import write_outputs
from tests.browser import Browser
from tests.finished_study import WINNER
from tests.written_study import record_tasks

pytestmark = pytest.mark.long

PLAIN = "the loss was not finite"
# What a Markdown reader could take for marks of its own; a trial's error may hold any of it.
MARKS = (
    r"1 < 2 > 0 <b>c</b> &lt; & a|b * *d* _e_ __f__ `g` [h](i) ![j](k) ~~l~~ $m$ @n \o \| x<y ¨D"
)
TABLES = """[...document.querySelectorAll("table")].map((table) =>
  [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim())))"""
# The least number of pixels between what stands in a cell and what stands in the next.
LEAST_GAP = """Math.min(...[...document.querySelectorAll("th + th, td + td")].map((cell) => {
  const words = (cell) => {
    const range = document.createRange();
    const text = cell.firstChild;
    range.setStart(text, 0);
    range.setEnd(text, text.textContent.trimEnd().length);
    return range.getBoundingClientRect();
  };
  return words(cell).left - words(cell.previousElementSibling).right;
}))"""

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
STOPPED = {"ln_lr": 0.08404840643566887, "bias_lr": 0.003068605962732783}


class Sent:
    """A finished study that a server has, and the addresses that its end printed."""

    def __init__(self, study: Any, server: str) -> None:
        self.study, self.server = study, server
        tracker = MlflowTracker()
        tracking = study.config.tracking.model_copy(update={"uri": server})
        config = study.config.model_copy(update={"tracking": tracking})
        tracker.start(Study(config, study.folder))
        tracker.register()
        write_outputs(study.folder)
        assert tracker.close(finished=True) == {}
        self.pages = dict(tracker.viewing_hints())
        self.version = study.folder.read_registration()
        client = MlflowClient(server)
        experiment = client.get_experiment_by_name(study.config.tracking.experiment)
        assert experiment is not None
        self.experiment_id = experiment.experiment_id
        runs = client.search_runs([self.experiment_id])
        self.runs = {run.data.tags.get("trial_id", ""): run for run in runs}


@pytest.fixture(scope="module")
def sent(
    finish: Callable[..., Any], mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Sent:
    """A study of which one trial was stopped and one failed."""
    study = finish(tmp_path_factory.mktemp("paged"), "paged", experiment="paged")
    study._split_hash = record_tasks(study.folder, TASK)
    for number, score in ((3, 0.6123456789), (4, 0.5)):
        trial = study.folder.trial(f"search-{number:04d}")
        study._search("search", f"trial {number}", number, score, WINNER | STOPPED)
        end = End("stopped", 2, 2.0, reason="successive halving at epoch 2")
        trial.write_end(end if number == 3 else End("failed", 2, 2.0, reason="boom", error="boom"))
    return Sent(study, mlflow_server)


def test_the_printed_link_opens_the_study_in_model_training_mode(
    browser: Browser, sent: Sent
) -> None:
    assert sent.pages["page"].startswith(f"{sent.server}/#/experiments/{sent.experiment_id}/runs/")
    browser.open(sent.pages["page"])
    line = sent.version.loading_line(lasting=True)
    wanted = ("trial 1 ★ won", line, "Child runs", "Metrics (3)", "test_score", "digits (")
    text = browser.wait_for_text(*wanted)
    assert "Model registry" in text
    assert "Playground" not in text, "the menu is that of generative models"
    assert "test_accuracy" not in text
    (scores, *_) = browser.evaluate(TABLES)
    assert [row[0] for row in scores][:2] == ["candidate", "best by validation ★"]
    assert re.fullmatch(r"\d\d\.\d (± \d+\.\d|\[.*\]|\(no interval\))", scores[1][1])


def test_trials_are_ordered_by_score_rounded_and_failed_alone_has_a_cross(
    browser: Browser, sent: Sent
) -> None:
    browser.open(sent.pages["trials"])
    browser.wait_for_text("5 matching runs", "trial 1 ★", "trial 3", "trial 4", "bias_lr")
    browser.wait_for(f"{ROWS}.length > 4")
    rows = browser.evaluate(ROWS)
    shown = [row["name"] for row in rows]
    assert shown[0] == "trial 1 ★"
    assert shown[-2:] == ["trial 3", "trial 4"]
    assert {name for name, row in zip(shown, rows, strict=True) if row["failed"]} == {"trial 4"}
    stopped = rows[shown.index("trial 3")]["words"]
    for cell in ("0.61235", "text.mlp.fc2.bias + vision.ln", "0.003069", "0.08405"):
        assert cell in stopped
    longest = max((re.sub(r"\D", "", w) for row in rows for w in row["words"]), key=len)
    assert len(longest) <= 7, "a number has more digits"


def test_the_score_is_the_first_chart_of_the_trials(browser: Browser, sent: Sent) -> None:
    browser.open(f"{sent.pages['trials']}&compareRunsMode=CHART")
    text = browser.wait_for_text("Model metrics (", "Add chart", "trainable")
    assert text.partition("Add chart")[2].split()[0] == "val_score"


def test_a_comparison_of_trials_is_coloured_by_their_score(browser: Browser, sent: Sent) -> None:
    compared = [sent.runs[f"search-000{number}"].info.run_id for number in (1, 2, 3)]
    runs, experiments = (quote(json.dumps(ids)) for ids in (compared, [sent.experiment_id]))
    browser.open(f"{sent.server}/#/compare-runs?runs={runs}&experiments={experiments}")
    browser.wait_for_text("Comparing 3 Runs", "Metrics: val_score Clear All")


def test_the_report_has_its_tables_in_order_rounded_and_with_the_line_that_loads_the_winner(
    browser: Browser, sent: Sent
) -> None:
    browser.open((sent.study.folder.path / "report.html").as_uri())
    text = browser.wait_for_text("What was found", "All trials", "search-0003")
    assert sent.version.loading_line() in text
    tables = {tuple(table[0][:2]): table[1:] for table in browser.evaluate(TABLES)}
    scores = tables["candidate", "test %"]
    assert scores[0][0] == "best by validation ★"
    assert re.fullmatch(r"\d\d\.\d (± \d+\.\d|\[.*\]|\(no interval\))", scores[0][1])
    searched = tables["trial", "validation %"]
    assert [row[1] for row in searched] == ["80.0", "70.0", "70.0", "61.2", "50.0"]
    assert [searched[place][0] for place in (0, 3, 4)] == [
        *("search-0001", "search-0003", "search-0004"),
    ]
    stopped = searched[3]
    assert stopped[3] == "stopped: successive halving at epoch 2"
    assert {"0.00307", "0.084"} <= {*stopped}


@pytest.mark.parametrize("cause", [PLAIN, MARKS])
def test_every_table_of_a_description_is_a_table_and_its_cells_read_as_they_were_written(
    browser: Browser,
    finish: Callable[..., Any],
    mlflow_server: str,
    tmp_path: Path,
    cause: str,
) -> None:
    study = finish(tmp_path, "described", experiment=f"described-{cause == MARKS}")
    tuned = study.folder.read_json("candidates.json")[0] | {"label": "clipfit-tuned"}
    study.folder.write_json("candidates.json", [*study.folder.read_json("candidates.json"), tuned])
    for seed, score in ((1, 0.6), (2, 0.6001)):
        study.confirm(seed, "clipfit-tuned", score)
    failed = study.folder.trial("search-0003")
    failed.create(study.folder.trial("search-0002").read_config() | {"trial_id": "search-0003"})
    failed.write_end(End("failed", 0, 1.0, reason=cause))
    write_outputs(study.folder)
    sync_to_mlflow(study.study, mlflow_server, lambda: write_outputs(study.folder))
    lines = (study.folder.path / DESCRIPTION).read_text(encoding="utf-8").splitlines()
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name(study.config.tracking.experiment)
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    run = f"experiments/{experiment.experiment_id}/runs/{parent.info.run_id}"
    browser.open(f"{mlflow_server}/#/{run}")
    browser.wait_for_text(
        "p <0.001 (the only test): better, beyond noise; a true",
        "tells the whole.",
    )
    tables = browser.evaluate(TABLES)
    assert len(tables) == sum(line.startswith("| ---") for line in lines) == 4
    assert [table[0][0] for table in tables] == [
        "candidate", "label", "part of the search", "failed trial",
    ]  # fmt: skip
    assert browser.evaluate(LEAST_GAP) > 1, "columns run into each other"
    assert [row[0] for row in tables[0]] == ["candidate", "best by validation ★", "tuned CLIPFit"]
    assert tables[3][1] == ["search-0003", "0", cause]
