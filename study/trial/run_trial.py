"""The training and evaluation of one trial, as an iterator of epoch reports.

Each task has a model of its own.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.trial_settings import TrialSettings, rate_column
from study.data.images.table import normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.data.tasks import Part, Task
from study.method.delta import head_tensors
from study.method.head import DEFAULT, GRID, VIEWS, Head, HeadTraining, train_heads
from study.method.model import FewShotClassifier, at_strength, classify, compete
from study.method.parameters import PEER
from study.method.peers import FullClassifier, LoraClassifier, PlainPass, dropping_out
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Losses, Schedule, make_optimizer, mean_losses, train_epoch
from study.trial.activations import (
    begin_images,
    begin_prompts,
    class_features,
    open_table,
    zero_shot_text,
)
from study.trial.cross_fitting import choose_head
from study.trial.evaluation import Evaluation, fold_scores, predictions
from study.trial.study import EpochReport, TrialConfig, TrialData


class TaskRun:
    """The model of one task, with its optimizer and its random generator.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        task: the task to train and evaluate.
        index: the position of the task among the trial's tasks; it varies the seed.
        micro_batch: see `study.trial.run_trial.run_trial`.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        backbone: Backbone,
        task: Task,
        index: int,
        *,
        micro_batch: int | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.data = data
        self._seed = config.seed * 1_000_003 + index
        self.classifier = self._make_classifier(backbone)
        self._model = (
            PlainPass(self.classifier)
            if config.settings.peer
            else StagedClassifier(self.classifier)
        )
        self._backbone = backbone
        self._micro_batch = micro_batch
        self._shared = data.train_images.parent
        self._prefix = f"task{index}"
        self._generator = torch.Generator().manual_seed(self._seed)
        self._paths = [record.path for record in task.train.records]
        position = {class_id: index for index, class_id in enumerate(task.train.classes)}
        self._labels = torch.tensor(
            [position[record.label] for record in task.train.records], device=self.classifier.device
        )
        self.input_ids = self.tokenize(task.train.name, task.train.classes)
        if config.epochs:
            self.optimizer = make_optimizer(
                self.classifier.tuned,
                _rates(config.settings),
                optimizer=config.training.optimizer,
                momentum=config.training.momentum,
                weight_decay=config.training.weight_decay,
            )
            self._prompts = begin_prompts(self._model, backbone, self.input_ids, self._shared)
            self._zero_shot_text = zero_shot_text(
                backbone, self.input_ids, config.training.computed_in, self._shared
            )

    def _make_classifier(self, backbone: Backbone) -> FewShotClassifier:
        peer, precision = self.config.settings.peer, self.config.training.computed_in
        if peer is None:
            subset = parse(self.config.settings.subset)
            return FewShotClassifier(backbone, subset, precision=precision)
        if peer.method == "full":
            return FullClassifier(backbone, precision=precision)
        return LoraClassifier(
            backbone,
            **peer.model_dump(include={"rank", "alpha", "dropout"}),
            generator=torch.Generator().manual_seed(self._seed),
            precision=precision,
        )

    @property
    def images_per_epoch(self) -> int:
        """The number of training images used in an epoch.

        An incomplete last batch is dropped, as in the reference, unless it is the only one.
        """
        size = self.config.training.batch_size
        return len(self._paths) // size * size or len(self._paths)

    def train_epoch(self, schedule: Schedule, epoch: int) -> Losses:
        """Train one epoch, counted from 0, and return its mean losses."""
        with dropping_out(self.classifier, (self._seed * 10_007 + epoch) % 2**63):
            return train_epoch(
                self._model,
                self.optimizer,
                self._batches(),
                schedule=schedule,
                epoch=epoch,
                prompts=self._prompts,
                zero_shot_text=self._zero_shot_text,
                distill_weight=self.config.settings.distill_weight,
                regularizer=self.config.training.regularizer,
                micro_batch=self._micro_batch,
            )

    @torch.no_grad()
    def evaluate(self, uses: Sequence[TrialSettings]) -> list[list[Evaluation]]:
        """Classify the evaluation images of the task by the trained model, used in each way.

        What uses of equal strength share, such as the features of images, is computed once.

        Args:
            uses: settings of this training, each with another strength, head or calibration.

        Returns:
            The evaluations of each use: one, or one for each way to train its linear head.
        """
        found: dict[TrialSettings, list[Evaluation]] = {}
        for strength in dict.fromkeys(use.strength for use in uses):
            alike = [use for use in uses if use.strength == strength]
            with at_strength(self.classifier.tuned, strength):
                found |= self._begin(alike)
                for part in self.task.evaluations:
                    self._evaluate(part, [one for use in alike for one in found[use]])
        return [found[use] for use in uses]

    def _begin(self, uses: Sequence[TrialSettings]) -> dict[TrialSettings, list[Evaluation]]:
        """Return the evaluations of some uses of the model as it is now, still without images."""
        known = frozenset(self.task.train.classes)
        ways = {use: _trainings(use, self.data) for use in uses}
        heads = self._train_heads(ways.values())
        return {
            use: [
                Evaluation(head, way, known, calibration=use.calibration)
                for head, way in heads[own]
            ]
            if (own := ways[use])
            else [Evaluation(None, None, known, calibration=use.calibration)]
            for use in uses
        }

    def _evaluate(self, part: Part, found: Sequence[Evaluation]) -> None:
        """Add to each evaluation what the images of a part are taken for."""
        own, known = part.name not in self.data.targets, torch.tensor(part.classes)
        paths = [record.path for record in part.records]
        features = [*self._features(self.data.target(part.name).images, paths)]
        text = self._text(part, part.classes)
        for one in found:
            rows, probabilities = classify(
                self.classifier,
                features,
                one.head.replace_in(text, self._by_name(part)) if one.head else text,
                self._calibration(one, part.classes) if own else 0.0,
            )
            one.parts.append((part, known[rows], probabilities))
        if own and (names := self._competing):
            labels, known = torch.tensor([r.label for r in part.records]), torch.tensor(names)
            text = self._text(part, names)
            for one in found:
                trained, other, gap = compete(
                    self.classifier,
                    features,
                    one.head.replace_in(text, names) if one.head else text,
                    self._trained(names),
                )
                one.competing.append((labels, known[trained], known[other], gap))

    def _by_name(self, part: Part) -> Sequence[int]:
        """Return the ids of a part's classes in training; −1 for one of a target that has no other.

        The ids of a target mean other classes, of which those of equal names are the same.
        """
        if part.name not in self.data.targets:
            return part.classes
        ids = {self.data.class_names[label]: label for label in self.task.train.classes}
        names = self.data.target(part.name).class_names
        return [ids.get(names[label], -1) for label in part.classes]

    def _train_heads(
        self, wanted: Collection[tuple[HeadTraining, ...]]
    ) -> dict[tuple[HeadTraining, ...], list[tuple[Head, HeadTraining]]]:
        """Train heads in each of several ways, on features of the model as it is now."""
        if not (given := [ways for ways in wanted if ways]):
            return {}
        classes = self.task.train.classes
        text = self._text(self.task.train, classes)
        if self.data.augment:
            views = torch.Generator().manual_seed(self._seed)
            paths = self._paths * VIEWS
            batches = (
                self._augmented(paths[at : at + self._at_once], views)
                for at in range(0, len(paths), self._at_once)
            )
            features = torch.cat([self._model.encode_image(batch) for batch in batches])
        else:
            features = torch.cat([*self._features(self.data.train_images, self._paths)])
        labels = self._labels.repeat(len(features) // len(self._labels))
        scale = self.classifier.clip.logit_scale.exp().item()
        return {
            ways: [
                (Head(rows, classes), way)
                for rows, way in zip(
                    train_heads(features, labels, text, scale, ways), ways, strict=True
                )
            ]
            for ways in dict.fromkeys(given)
        }

    def _features(self, images: Path, paths: Sequence[str]) -> Iterator[Tensor]:
        """Yield the features of images of a table in batches, (batch, dim) float32."""
        for at in range(0, len(paths), self._at_once):
            wanted = paths[at : at + self._at_once]
            yield self._model.encode_image(
                begin_images(self._model, self._backbone, images, wanted)
            )

    def _text(self, part: Part, classes: Sequence[int]) -> Tensor:
        """Return the text features of classes, by the prompts of a part, (classes, dim) float32."""
        templates = len(self.data.target(part.name).templates) if self.data.ensemble else 1
        ids = self.tokenize(part.name, classes, templates)
        return class_features(self._model, self._backbone, ids, templates, self._shared)

    def _trained(self, classes: Sequence[int]) -> Tensor:
        """Return whether each class is trained, (classes,) bool on the CPU."""
        return torch.tensor([label in self.task.train.classes for label in classes])

    def _calibration(self, one: Evaluation, classes: Sequence[int]) -> Tensor | float:
        """Return what is taken from the logits of classes, where trained ones and others compete.

        (classes,) float32.
        """
        trained = self._trained(classes)
        if not one.calibration or trained.all():
            return 0.0
        return (one.calibration * trained).to(self.classifier.device)

    @property
    def _competing(self) -> tuple[int, ...]:
        """The classes of all parts, if trained ones and others are to compete; else none."""
        parts = (part for part in self.task.evaluations if part.name not in self.data.targets)
        labels = {label for part in parts for label in part.classes}
        others = labels - {*self.task.train.classes}
        return tuple(sorted(labels)) if others and self.data.protocol.competes else ()

    @property
    def _at_once(self) -> int:
        """The number of images that pass the encoder at once in an evaluation."""
        size = self.config.training.eval_batch_size
        if self._micro_batch is None:
            return size
        return max(1, size * self._micro_batch // self.config.training.batch_size)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch of an epoch, shuffled: begun images and labels, (batch,) int64."""
        order = torch.randperm(len(self._paths), generator=self._generator)
        for rows in order[: self.images_per_epoch].split(self.config.training.batch_size):
            paths = [self._paths[row] for row in rows]
            if self.data.augment:
                images = self._augmented(paths, self._generator)
            else:
                images = begin_images(self._model, self._backbone, self.data.train_images, paths)
            yield images, self._labels[rows.to(self._labels.device)]

    def _augmented(self, paths: Sequence[str], generator: torch.Generator) -> Tensor:
        """Return training images, cropped and flipped at random, as begun images."""
        pixels = random_resized_crop_flip(
            open_table(self.data.train_images).images(paths),
            self._backbone.image_size,
            generator,
            device=self.classifier.device,
        )
        pixels = normalize(pixels, self._backbone.image_mean, self._backbone.image_std)
        chunks = pixels.split(self._micro_batch or len(paths))
        return torch.cat([self._model.begin_images(chunk) for chunk in chunks])

    def tokenize(self, part: str, classes: Sequence[int], templates: int = 1) -> Tensor:
        """Return the token ids of classes' prompts, (classes · templates, length) int64.

        The rows of one class stand together.

        Args:
            part: the name of the part whose prompts they are.
            classes: the ids of the classes.
            templates: the number of prompts of each class.
        """
        target = self.data.target(part)
        names = [target.class_names[c] for c in classes]
        texts = chain.from_iterable(prompts(names, target.templates[:templates]))
        return self._backbone.tokenize([*texts]).to(self.classifier.device)

    def parameters(self) -> dict[str, Tensor]:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        return {
            t.name: t.parameter.detach().to("cpu", copy=True).contiguous()
            for t in self.classifier.tuned
        }

    def delta(self, use: TrialSettings, head: Head | None) -> dict[str, Tensor]:
        """Return what the model is used with: the parameters at a use's strength, and a head.

        They are on the CPU, by the names of `study.method.delta`; see `TrialSettings.writes_delta`.
        """
        if not use.writes_delta:
            return {}
        with at_strength(self.classifier.tuned, use.strength):
            return {**self.parameters(), **head_tensors(head)}

    def state(self, delta: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return copies of the parameters, optimizer state and generator state on the CPU.

        Args:
            delta: what `delta` returned; it is kept where it is not the parameters themselves, for
                a trial that is stopped.
        """
        optimizer = {
            f"optimizer.{index}.{key}": torch.as_tensor(value).detach().to("cpu", copy=True)
            for index, values in self.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        settings = self.config.settings
        used_otherwise = settings.strength != 1 or settings.head != "text"
        own = {
            **{f"parameter.{name}": tensor for name, tensor in self.parameters().items()},
            **(
                {f"delta.{name}": tensor for name, tensor in delta.items()}
                if used_otherwise
                else {}
            ),
            **optimizer,
            "generator": self._generator.get_state(),
        }
        return {f"{self._prefix}.{name}": tensor for name, tensor in own.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for tuned in self.classifier.tuned:
            tuned.parameter.copy_(state[f"{self._prefix}.parameter.{tuned.name}"])
        optimizer: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            if name.startswith(prefix := f"{self._prefix}.optimizer."):
                index, key = name.removeprefix(prefix).split(".")
                optimizer[int(index)][key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": dict(optimizer)})
        self._generator.set_state(state[f"{self._prefix}.generator"])


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Mapping[str, Tensor]] | None = None,
    micro_batch: int | None = None,
    siblings: Sequence[TrialConfig] = (),
) -> Iterator[EpochReport]:
    """Train and evaluate one trial; yield a report after every epoch.

    The reports depend on the arguments only, not on what ran before in this process.

    Args:
        config: the trial's configuration.
        data: the trial's images, classes and tasks.
        backbone: the backbone, loaded once per process; it stays unchanged.
        start: the number of completed epochs and the state reported after them.
        micro_batch: the number of images that pass through the encoders at once, if a whole batch
            does not fit into memory; evaluation batches shrink in proportion. It changes results
            by rounding only, beside what LoRA's dropout draws, and is reported among the metrics.
        siblings: trials of the same training, whose result is used with another head, strength or
            calibration. Their last reports, which are what they would report alone, stand in this
            trial's last one.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    runs = [
        TaskRun(config, data, backbone, task, index, micro_batch=micro_batch)
        for index, task in enumerate(data.tasks)
    ]
    epoch, state = start or (0, {})
    for run in runs if state else ():
        run.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    micro: dict[str, float] = {} if micro_batch is None else {"micro_batch": micro_batch}
    done = False
    while not done:
        began = time.perf_counter()
        metrics = dict(micro)
        if config.epochs:
            means = mean_losses([run.train_epoch(schedule, epoch) for run in runs])
            metrics = {
                "train_loss": means.loss.item(),
                "cross_entropy": means.cross_entropy.item(),
                "distillation": means.distillation.item(),
            }
            for kind, rate in _rates(config.settings).items():
                metrics[rate_column(kind)] = schedule.learning_rate(rate, epoch)
            images = sum(run.images_per_epoch for run in runs)
            metrics |= {**micro, "images_per_second": images / (time.perf_counter() - began)}
            epoch += 1
        done = epoch >= config.epochs
        uses = [config.settings, *(sibling.settings for sibling in siblings if done)]
        looks = config.scored_at is None or epoch in config.scored_at
        found: Iterable[Sequence[Sequence[Evaluation]]] = [()]
        if done or (data.split == "val" and looks):
            found = zip(*(run.evaluate(uses) for run in runs), strict=True)
        report, *others = (
            _report(runs, data, use, own, epoch, done=done, metrics=metrics)
            for use, own in zip(uses, found, strict=True)
        )
        report.metrics["seconds"] = time.perf_counter() - began
        for other in others:
            other.metrics["seconds"] = 0.0  # nothing was done for it alone
        states: dict[str, Tensor] = {}
        for run, delta in zip(runs, report.deltas or [{}] * len(runs), strict=True):
            states |= {} if done else run.state(delta)
        yield replace(report, state=states, siblings=tuple(others))


def _report(
    runs: Sequence[TaskRun],
    data: TrialData,
    use: TrialSettings,
    evaluated: Sequence[Sequence[Evaluation]],
    epoch: int,
    *,
    done: bool,
    metrics: Mapping[str, float],
) -> EpochReport:
    """Return the report of an epoch for one use of what was trained, without a state.

    Args:
        runs: the models of the tasks.
        data: the trial's data.
        use: the use.
        evaluated: the evaluations of each task, one per head; empty without an evaluation.
        epoch: the number of completed epochs.
        done: whether it was the last one.
        metrics: the metrics of the training.
    """
    scored: Sequence[Evaluation] = ()
    heads: Sequence[Head | None] = [None] * len(runs)
    own = dict(metrics)
    if evaluated:
        choice = choose_head(evaluated, data)
        own |= {f"{data.split}_{name}": value for name, value in choice.scores.items()}
        training = choice.shipped[0].training
        if training is not None:
            own |= {f"head_{name}": value for name, value in training._asdict().items()}
        scored = choice.scored
        heads = [one.head for one in choice.shipped]
    deltas = tuple(run.delta(use, head) for run, head in zip(runs, heads, strict=True))
    return EpochReport(
        epoch=epoch,
        done=done,
        metrics=own,
        state={},
        deltas=deltas if use.writes_delta else (),
        predictions=predictions(scored, data),
        folds=fold_scores(scored, data),
    )


def _rates(settings: TrialSettings) -> Mapping[str, float]:
    """Return the learning rate of each kind of parameter, or that of a peer."""
    return {PEER: settings.peer.lr} if settings.peer else settings.rates


def _trainings(use: TrialSettings, data: TrialData) -> tuple[HeadTraining, ...]:
    """Return the ways to train the linear head of a use; none if it has none."""
    lr, steps = use.head_lr, use.head_steps
    if use.head == "text":
        return ()
    if lr is not None and steps is not None:
        return (HeadTraining(lr, steps),)
    return GRID if data.split == "val" else (DEFAULT,)
