"""The evaluation of one task's model: the classes it gives to images, in each use of the model.

`study.trial.evaluation` scores what this returns.
"""

from collections.abc import Sequence

import torch

from study.config.trial_settings import TrialSettings
from study.data.tasks import Classes, Task
from study.method.model import apply_strength
from study.trial.evaluation import Evaluation
from study.trial.study import TrialData
from study.trial.task_features import encode_part
from study.trial.task_heads import head_trainings, train_task_heads
from study.trial.task_model import TaskModel


@torch.no_grad()
def evaluate_task(
    model: TaskModel, uses: Sequence[TrialSettings], temperature: float | None = None
) -> list[list[Evaluation]]:
    """Classify the evaluation images of a model's task by each use of the model.

    Uses of equal strength share the features of images, which are computed once.

    Args:
        model: the model, as trained so far.
        uses: settings of the training, each with another strength, head or calibration.
        temperature: see `Evaluation.temperature`.

    Returns:
        The evaluations of each use: one, or one for each way to train its linear head.
    """
    task = model.task
    trained = frozenset(task.train.classes)
    rivals = rival_classes(task, model.data)
    trainings = {use: head_trainings(use, model.data) for use in uses}
    evaluations = {}
    for strength in dict.fromkeys(use.strength for use in uses):
        of_strength = [use for use in uses if use.strength == strength]
        with apply_strength(model.classifier.tuned, strength):
            heads = train_task_heads(model, [trainings[use] for use in of_strength])
            for use in of_strength:
                evaluations[use] = [
                    Evaluation(
                        head,
                        training,
                        trained,
                        calibration=use.calibration,
                        temperature=temperature,
                    )
                    for head, training in heads[trainings[use]]
                ]
            for part in task.evaluations:
                features = encode_part(model, part, rivals)
                for use in of_strength:
                    for evaluation in evaluations[use]:
                        evaluation.classify_part(model.classifier, features)
    return [evaluations[use] for use in uses]


def rival_classes(task: Task, data: TrialData) -> Classes:
    """Return the classes of all parts if trained and other classes compete, else no class."""
    labels: set[int] = set()
    for part in task.evaluations:
        if part.name not in data.targets:
            labels.update(part.classes)
    others = labels - set(task.train.classes)
    if not others or not data.protocol.competes:
        return ()
    return tuple(sorted(labels))
