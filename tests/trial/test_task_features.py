"""What a task's model makes of images and prompts: how many pass at once, and which compete."""

from dataclasses import replace

import pytest
import torch

from study.backbones.backbone import Backbone
from study.storage.result_folder import JsonObject
from study.trial.study import TrialData
from study.trial.task_features import image_features, labels_of
from study.trial.task_model import TaskModel
from tests.case_tables import from_table
from tests.small_trials import Prepare, last_report, trial


@from_table
def test_images_that_are_evaluated_at_once_shrink_with_those_of_a_batch(
    holdout: TrialData, backbone: Backbone, micro_batch: int | None, at_once: int
):
    config = trial(training={"batch_size": 8, "eval_batch_size": 30})
    (task,) = holdout.tasks
    model = TaskModel(config, holdout, backbone, 0, micro_batch)
    assert model.images_at_once == at_once
    evaluated = [record.path for part in task.evaluations for record in part.records]
    sizes = [len(batch) for batch in image_features(model, holdout.eval_images, evaluated)]
    assert sum(sizes) == len(evaluated)
    assert {*sizes[:-1]} == {at_once}


@pytest.mark.parametrize("changes", [{}, {"head": "linear"}])
def test_classes_of_one_name_are_counted_apart(
    prepare: Prepare, backbone: Backbone, changes: JsonObject
):
    data = prepare("holdout").test(1)
    first, _, *others = data.class_names
    report = last_report(replace(data, class_names=(first, first, *others)), backbone, **changes)
    right = [one.label == one.predicted for one in report.predictions]
    assert sum(right) / len(right) == pytest.approx(report.metrics["test_accuracy"])
    assert len({one.label for one in report.predictions}) == len(data.class_names)
    assert first in {one.label for one in report.predictions}


def test_labels_are_the_places_of_classes_among_those_of_training(prepare: Prepare):
    for task in prepare("class_folds").search().tasks:
        classes = torch.tensor(task.train.classes)
        wanted = [record.label for record in task.train.records]
        assert classes[labels_of(task.train)].tolist() == wanted
