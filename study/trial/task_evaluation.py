"""The evaluation of one task's model: what its images are taken for, by each use of the model.

`study.trial.evaluation` scores what this returns.
"""

from collections.abc import Sequence

import torch

from study.config.trial_settings import TrialSettings
from study.data.tasks import Task
from study.method.model import at_strength
from study.trial.evaluation import Evaluation
from study.trial.study import TrialData
from study.trial.task_features import encode_part
from study.trial.task_heads import head_trainings, train_task_heads
from study.trial.task_model import TaskModel


@torch.no_grad()
def evaluate_task(
    model: TaskModel, data: TrialData, task: Task, uses: Sequence[TrialSettings]
) -> list[list[Evaluation]]:
    """Classify the evaluation images of a task by its model, used in each way.

    What uses of equal strength share, such as the features of images, is computed once.

    Args:
        model: the model, as trained so far.
        data: the trial's data.
        task: the task.
        uses: settings of the training, each with another strength, head or calibration.

    Returns:
        The evaluations of each use: one, or one for each way to train its linear head.
    """
    train, known = task.train, frozenset(task.train.classes)
    rivals = rival_classes(task, data)
    trainings = {use: head_trainings(use, data) for use in uses}
    evaluations: dict[TrialSettings, list[Evaluation]] = {}
    for strength in dict.fromkeys(use.strength for use in uses):
        alike = [use for use in uses if use.strength == strength]
        with at_strength(model.classifier.tuned, strength):
            heads = train_task_heads(model, data, train, [trainings[use] for use in alike])
            for use in alike:
                evaluations[use] = [
                    Evaluation(head, training, known, calibration=use.calibration)
                    for head, training in heads[trainings[use]]
                ]
            at_this_strength = [one for use in alike for one in evaluations[use]]
            for part in task.evaluations:
                features = encode_part(model, data, train, part, rivals)
                for one in at_this_strength:
                    one.answer(model.classifier, features)
    return [evaluations[use] for use in uses]


def rival_classes(task: Task, data: TrialData) -> tuple[int, ...]:
    """Return the classes of all parts, if trained ones and others are to compete; else none."""
    labels: set[int] = set()
    for part in task.evaluations:
        if part.name not in data.targets:
            labels.update(part.classes)
    others = labels - {*task.train.classes}
    return tuple(sorted(labels)) if others and data.protocol.competes else ()
