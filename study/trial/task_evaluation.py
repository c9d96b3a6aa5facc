"""The evaluation of one task's model: its linear head, and the classes it gives to images.

The features of images and prompts are computed once for all heads.
`study.trial.predictions.trial_scores` scores what this returns.
"""

from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from study.config.methods import Clap, TwoStage
from study.config.trial_settings import Head as HeadName
from study.data.records import result_names
from study.method.balance import class_balance
from study.method.clap import CLAP_VIEWS, train_clap
from study.method.head import VIEWS, Head, train_head
from study.method.model import PROMPTS_AT_ONCE, classify, interpolate
from study.trial.study import Prediction
from study.trial.task_features import (
    PartFeatures,
    encode_part,
    labels_of,
    text_features,
    tokenize,
    training_features,
)
from study.trial.task_model import TaskModel


@dataclass
class Evaluation:
    """The result of a task's model on its evaluation images, with each head of the trial."""

    linear: Head | None = None
    """The linear head, if it is among them."""
    predictions: dict[HeadName, list[Prediction]] = field(default_factory=dict)
    """The prediction of every image, by head in the order of the trial's heads."""


@torch.no_grad()
def evaluate_task(model: TaskModel) -> Evaluation:
    """Classify the evaluation images of a model's task, as it is trained so far."""
    settings = model.config.settings
    heads = model.data.heads_of(settings)
    evaluation = Evaluation(predictions={head: [] for head in heads})
    with interpolate(model.classifier.tuned, settings.alpha):
        if "linear" in heads:
            evaluation.linear = train_task_head(model)
        for part in model.task.evaluations:
            features = encode_part(model, part)
            for head, predictions in evaluation.predictions.items():
                linear = evaluation.linear if head == "linear" else None
                predictions += classify_part(model, features, linear)
    return evaluation


def classify_part(model: TaskModel, features: PartFeatures, head: Head | None) -> list[Prediction]:
    """Return the predictions of the images of a part.

    Args:
        model: the model.
        features: its features of the part.
        head: the linear head; None means that the text features classify.
    """
    part, data = features.part, model.data
    text = features.text
    if head is not None:
        text = head.replace_in(text, features.names)
    column_of = {class_id: column for column, class_id in enumerate(part.classes)}
    labels = torch.tensor([column_of.get(record.label, 0) for record in part.records])
    columns, probabilities = classify(model.classifier, features.images, text, labels)
    of_predicted, of_label = probabilities.tolist()
    names = result_names(data.targets.get(part.name, data.own_target).class_names)
    predictions = []
    for row, record in enumerate(part.records):
        prediction = Prediction(
            head="text" if head is None else "linear",
            part=part.name,
            path=record.path,
            label=names[record.label],
            predicted=names[part.classes[columns[row]]],
            probability=of_predicted[row],
            true_probability=of_label[row] if data.split == "val" else None,
            group=record.group,
            fold=model.index,
        )
        predictions.append(prediction)
    return predictions


@torch.no_grad()
def train_task_head(model: TaskModel) -> Head:
    """Return the linear head of the model as trained so far, which its method may train itself."""
    train, method = model.task.train, model.config.settings.method
    text = text_features(model, model.data.own_target, train.classes)
    if isinstance(method, TwoStage):
        rows = text if model.rows is None else F.normalize(model.rows, dim=-1)
        return Head(rows, train.classes)
    features = training_features(model, CLAP_VIEWS if isinstance(method, Clap) else VIEWS)
    labels = labels_of(train).to(features.device)
    images = len(labels)
    labels = labels.repeat(len(features) // images)
    scale = model.classifier.clip.logit_scale.exp().item()
    if isinstance(method, Clap):
        ids = tokenize(model, model.data.own_target, train.classes)
        raw = torch.cat([model.classifier.embed_text(some) for some in ids.split(PROMPTS_AT_ONCE)])
        generator = torch.Generator().manual_seed(model.seed)
        rows = train_clap(features, labels, raw, scale, images=images, generator=generator)
        return Head(rows, train.classes)
    balance = class_balance(model.config.training.balance, labels, len(train.classes))
    return Head(train_head(features, labels, text, scale, balance), train.classes)
