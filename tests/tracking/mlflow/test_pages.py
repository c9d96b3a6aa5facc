"""A description in MLflow's pages, seen by a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from mlflow import MlflowClient

from study.storage.ledger import DESCRIPTION, End
from study.tracking.mlflow.mirror import sync_study
from study.workflow.run_study import write_outputs

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
    sync_study(study.study, mlflow_server, lambda: write_outputs(study.folder))
    lines = (study.folder.path / DESCRIPTION).read_text(encoding="utf-8").splitlines()
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name(study.config.tracking.experiment)
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    run = f"experiments/{experiment.experiment_id}/runs/{parent.info.run_id}"
    browser.open(f"{mlflow_server}/#/{run}")
    browser.wait_for_text(
        "p <0.001 (the only fixed comparison): above, by more than noise.", "tells the whole."
    )
    tables = browser.evaluate(TABLES)
    assert len(tables) == sum(line.startswith("| ---") for line in lines) == 4
    assert [table[0][0] for table in tables] == [
        "candidate", "label", "search arm", "failed trial",
    ]  # fmt: skip
    assert browser.evaluate(LEAST_GAP) > 5, "columns run into each other"
    assert [row[0] for row in tables[0]] == ["candidate", "best by validation ★", "tuned CLIPFit"]
    assert tables[3][1] == ["search-0003", "0", cause]
