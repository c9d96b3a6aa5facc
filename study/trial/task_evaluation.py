"""The evaluation of one task's model: its linear head, and the classes it gives to images.

The features of images and prompts are computed once for all heads. `study.trial.evaluation` scores
what this returns.
"""

import torch

from study.config.trial_settings import Head as HeadName
from study.method.balance import class_balance
from study.method.head import Head, train_head
from study.method.model import apply_strength
from study.trial.evaluation import Evaluation
from study.trial.task_features import encode_part, labels_of, text_features, training_features
from study.trial.task_model import TaskModel


@torch.no_grad()
def evaluate_task(model: TaskModel) -> dict[HeadName, Evaluation]:
    """Classify the evaluation images of a model's task with each head of the trial.

    Args:
        model: the model, as trained so far.

    Returns:
        The evaluation with each head, in the order of the trial's heads.
    """
    task, config = model.task, model.config
    with apply_strength(model.classifier.tuned, config.settings.strength):
        evaluations = {}
        for name in model.data.heads_of(config.settings):
            head = train_task_head(model) if name == "linear" else None
            evaluations[name] = Evaluation(head)
        for part in task.evaluations:
            features = encode_part(model, part)
            for evaluation in evaluations.values():
                evaluation.classify_part(model.classifier, features)
    return evaluations


@torch.no_grad()
def train_task_head(model: TaskModel) -> Head:
    """Train the linear head on features of the model as trained so far."""
    train = model.task.train
    text = text_features(model, model.data.own_target, train.classes)
    features = training_features(model)
    labels = labels_of(train).to(features.device)
    labels = labels.repeat(len(features) // len(labels))
    balance = class_balance(model.config.training.balance, labels, len(train.classes))
    scale = model.classifier.clip.logit_scale.exp().item()
    return Head(train_head(features, labels, text, scale, balance), train.classes)
