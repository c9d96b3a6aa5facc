"""The evaluation of one task's model: its linear head, and the classes it gives to images.

The features of images and prompts are computed once for all heads.
`study.trial.predictions.trial_scores` scores what this returns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from study.config.methods import Clap, TwoStage
from study.config.trial_settings import Head as HeadName
from study.data.records import result_names
from study.data.tasks import Part
from study.method.balance import class_balance
from study.method.clap import CLAP_VIEWS, train_clap
from study.method.head import VIEWS, Head, train_head
from study.method.model import PROMPTS_AT_ONCE, classify, interpolate
from study.trial.study import Prediction
from study.trial.task_features import (
    image_features,
    labels_of,
    text_features,
    tokenize,
    trained_classes,
    training_features,
)
from study.trial.task_model import TaskModel


@torch.no_grad()
def evaluate_task(model: TaskModel) -> tuple[dict[HeadName, list[Prediction]], Head | None]:
    """Classify the evaluation images of a model's task, as it is trained so far.

    Returns:
        The prediction of every image, by head in the order of the trial's heads; and the linear
        head, if it is among them.
    """
    data, settings = model.data, model.config.settings
    heads = data.heads_of(settings)
    predictions: dict[HeadName, list[Prediction]] = {head: [] for head in heads}
    linear = None
    with interpolate(model.classifier.tuned, settings.alpha):
        if "linear" in heads:
            linear = train_task_head(model)
        for part in model.task.evaluations:
            target = data.targets.get(part.name, data.own_target)
            images = list(image_features(model, target.images, part.paths))
            rows = {"text": text_features(model, target, part.classes)}
            if linear is not None:
                rows["linear"] = linear.replace_in(rows["text"], trained_classes(model, part))
            for head in heads:
                predictions[head] += classify_part(model, part, head, images, rows[head])
    return predictions, linear


def classify_part(
    model: TaskModel, part: Part, head: HeadName, images: Sequence[Tensor], rows: Tensor
) -> list[Prediction]:
    """Return the predictions of the images of a part.

    Args:
        model: the model.
        part: the part.
        head: the head that classifies.
        images: the features of the images in batches, (batch, dim) float32.
        rows: a row of the head for each class of the part, (classes, dim) float32.
    """
    data = model.data
    column_of = {class_id: column for column, class_id in enumerate(part.classes)}
    labels = torch.tensor([column_of.get(record.label, 0) for record in part.records])
    columns, probabilities = classify(model.classifier, images, rows, labels)
    of_predicted, of_label = probabilities.tolist()
    names = result_names(data.targets.get(part.name, data.own_target).class_names)
    predictions = []
    for row, record in enumerate(part.records):
        prediction = Prediction(
            head=head,
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
