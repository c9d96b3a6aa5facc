"""Few-shot: all classes are trained, and tested together."""

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import FewShot
from study.storage.result_folder import JsonObject
from tests.case_tables import from_table

from .conftest import parts


def test_a_test_scores_the_whole_test_split(dataset: Dataset, shots: Shots):
    task = FewShot().task_of_test(dataset, shots)
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert task.evaluations[0].records == dataset.test


@from_table
def test_folds_need_an_image_of_each_class_in_every_fold_and_a_rule_that_is_named_is_taken(
    dataset: Dataset, data: JsonObject, search: JsonObject, rule: str
):
    config = build_config({"data": data, "search": {"folds": None, **search}}, "here")
    assert FewShot().rule(config, dataset).name == rule
    assert FewShot().rule(config, {}).name == rule
