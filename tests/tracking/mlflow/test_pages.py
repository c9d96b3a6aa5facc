"""The pages of a study in MLflow, as a real browser shows them."""

import re
from html import unescape
from typing import Any

import pytest
from mlflow import MlflowClient

from study.commands.write_results import write_results
from study.data.records import Record
from study.data.tasks import Part, Task
from study.results.study_result import read_study_result
from study.storage.trial_folder import End
from study.tracking.mlflow.mlflow_internals import viewing_hints
from tests.browser import render
from tests.not_none import not_none
from tests.real_study import BEST
from tests.tracking.mlflow.records import started

pytestmark = [pytest.mark.long, pytest.mark.ci]

TASK = Task(
    Part("train", (Record("a/1", 0), Record("b/1", 1)), (0, 1)),
    (Part("accuracy", (Record("a/2", 0),), (0, 1)),),
)
SCORE = r"\d\d\.\d (± \d+\.\d|\[.*\]|\(no interval\))"
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


def words_of(address: str, *wanted: str) -> str:
    """Return the words of a page of MLflow once it shows all that is wanted."""
    for _ in range(3):  # a busy server may take longer
        page = render(address, budget=60_000)
        text = " ".join(unescape(re.sub("<[^>]*>", " ", page)).split())
        if all(word in text for word in wanted):
            return text
    pytest.fail(f"{wanted} are not all on the page: {text}")


def test_the_printed_link_opens_the_study(sent: Sent):
    line = sent.version.loading_line
    text = words_of(sent.pages["page"], line, "Child runs", "Metrics (2)", "test_score", "digits (")
    assert "Model registry" in text
    assert "Playground" not in text, "the menu is that of generative models"
    assert "test_accuracy" not in text
    assert re.search(rf"candidate .*best by validation ★ {SCORE}", text)
    tested = viewing_hints(sent.server, sent.experiment_id, "", "tested")[1][1]
    words_of(tested, "★ best · seed 1", "★ best · seed 2", "label: best, study: paged")


def test_trials_are_ordered_by_score_and_rounded(sent: Sent):
    subset = "text.mlp.fc2.bias + vision.ln"
    best, other = f"★ {subset} @ 0.05, 0.1", f"{subset} @ 0.0031, 0.084"
    shown = ("5 matching runs", best, other, "bias_lr", "0.61235", "0.0030686", "0.084048")
    text = words_of(sent.pages["trials"], *shown)
    assert text.index(best) < text.index(other)
    assert not re.search(r"\b0\.\d{8}", text), "a number has more digits"
