"""A protocol of another package is one class: here, one that tests the new classes alone."""

from collections.abc import Mapping

import pytest
from paper_dataset import make_paper_dataset

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import draw_shots
from study.protocols import BaseToNew, disagreements
from study.trial.config_hash import code_of_others


class OnlyNew(BaseToNew):
    """Learning from the base classes, scored by the new ones."""

    name = "only_new"
    sentence = "Only new: a model is scored by its accuracy on classes that it never saw."
    metric = "new"

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return both accuracies; that of the new classes is the score."""
        return {**parts, "score": parts.get("new", parts["base"])}


@pytest.fixture
def dataset() -> Dataset:
    return make_paper_dataset(classes=24)


def test_it_has_tasks_a_score_and_columns(dataset: Dataset) -> None:
    protocol = OnlyNew()
    shots = draw_shots(dataset, shots=4, seed=1)
    config = build_config({"protocol": "only_new"}, "here")
    tasks = protocol.search_tasks(dataset, shots, protocol.rule(config, dataset))
    assert [[part.name for part in task.evaluations] for task in tasks] == [["base", "new"]] * 3
    assert protocol.confirm_task(dataset, shots).train.classes == tuple(range(12))
    assert protocol.score({"base": 1.0, "new": 0.5})["score"] == 0.5
    assert (protocol.metric, protocol.parts) == ("new", ("base", "new"))


def test_what_is_wrong_with_a_study_is_said_in_its_name() -> None:
    config = build_config({"protocol": "only_new", "search": {"selection": "holdout"}}, "here")
    (fault,) = disagreements(config, OnlyNew())
    assert "cannot judge the protocol only_new; allowed are auto, class_folds, base" in fault


def test_its_code_counts_among_that_which_results_depend_on() -> None:
    assert len(code_of_others(OnlyNew)) == 1
