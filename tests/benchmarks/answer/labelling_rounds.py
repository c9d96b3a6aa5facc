"""Are the images that `predict --next` chooses worth more than others?

    python tests/benchmarks/answer/labelling_rounds.py digits glyphs  # development images
    python tests/benchmarks/answer/labelling_rounds.py handwriting printed  # images of the claim

A repeat begins with two labelled images of each class. In each of three rounds, 50 of a pool of at
most 1,000 are labelled, and three configurations are trained again on all that are: the best with a
linear head of those that a recorded search drew at random. There is no new search. Their average
with a linear head is tested, and predicts the classes of the pool. What has a file is not trained
again.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.backbones.load_backbone import load_backbone
from study.config.trial_settings import TrialSettings, joint_subset
from study.data.records import Records
from study.data.tasks import Part, Task
from study.embedded import backbone_path
from study.method.averaging import Member, write_average
from study.method.head import DEFAULT
from study.method.training import Schedule
from study.results.intervals import mean_interval
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.serving.next_to_label import choose_next, disagreement
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import Study
from study.trial.task_features import encode_part
from study.trial.task_heads import train_task_heads
from study.trial.task_model import TaskModel, make_task_model
from study.trial.task_training import TaskTraining, train_tasks
from tests.benchmarks.answer.cases import Case, configuration
from tests.benchmarks.answer.own_images import write_handwriting, write_printed
from tests.benchmarks.measuring import machine
from tests.benchmarks.search.world import World

WORLD = Path(__file__).parents[1] / "search/worlds/quickstart.parquet"
STORAGE = Path("runs/labelling-rounds").resolve()
WRITTEN = {"handwriting": write_handwriting, "printed": write_printed}
STRATEGIES = ("next", "random-balanced", "random")
SEEDS = range(1, 11)


def main() -> None:
    """Train the repeats that are missing, then print all means."""
    torch.set_num_threads(1)
    print(*sys.argv, machine(), sep=", ")
    repeats = []
    for name in sys.argv[1:]:
        repeats += [read_repeat(name, seed) for seed in SEEDS]
        print_means(name, repeats[-len(SEEDS) :])
    print_means("all", repeats)


def print_means(name: str, repeats: list[Any]) -> None:
    """Print the accuracies in percent, and the mean advantage over the rounds, of `next`."""
    values = 100 * np.array(repeats)
    for column, strategy in enumerate(STRATEGIES):
        gain = mean_interval((values[:, 0] - values[:, column])[:, 1:].mean(axis=1).tolist())
        means = values[:, column].mean(axis=0).round(1)
        print(f"{name}: {strategy} {means}, {gain.mean:+.2f} ± {gain.half_width:.2f}")


def read_repeat(name: str, seed: int) -> Any:
    """Return the accuracies of a repeat, by strategy and round; train it if it has no file."""
    file = STORAGE / f"{name}-{seed}.json"
    if not file.exists():
        file.write_text(json.dumps(images_of(name).repeat(seed)))
    return json.loads(file.read_text())


class Images:
    """The pool and the test images of a case, and what is trained on some of the pool."""

    def __init__(self, name: str) -> None:
        (STORAGE / name / "shots").mkdir(parents=True, exist_ok=True)
        changes = {"training.epochs": "8", "data.dataset": name}
        case = Case(name, "quickstart", changes, WRITTEN.get(name))
        self.study = Study(configuration(name, case, STORAGE, 0), StudyFolder(STORAGE / name))
        dataset = self.study.dataset()
        classes = tuple(range(len(dataset.class_names)))
        self.pool = Part("train", some(dataset.train), classes)
        self.test = Part("accuracy", some(dataset.test), classes)
        self.backbone = load_backbone(backbone_path("embedded"))
        preparer = Preparer(self.study, self.backbone.image_size)
        self.data = preparer.prepare_tasks((Task(self.pool, (self.test,)),), "val")
        depths = self.study.architecture().depths
        rows = [row for row in World.read(WORLD, depths).rows if row.source == "random-0"]
        rows.sort(key=lambda row: (row.settings.head != "linear", -row.validation[-1]))
        self.settings = [row.settings.training_settings for row in rows[:3]]
        self.settings.append(TrialSettings(subset=joint_subset(self.settings, depths)))

    def repeat(self, seed: int) -> list[list[float]]:
        """Return the test accuracies of each strategy, before the first round and after each."""
        rng = np.random.default_rng(seed)
        start: list[int] = []
        for label in self.pool.classes:
            start += rng.choice(np.flatnonzero(labels(self.pool) == label), 2, False).tolist()
        first = self.train(start, seed)
        accuracies = []
        for strategy in STRATEGIES:
            rng = np.random.default_rng([seed, 1])
            rows, models, of_rounds = start, first, []
            for turn in range(4):
                if turn:
                    rows = rows + self.choose(strategy, models, rows, rng)
                    models = self.train(rows, seed)
                _, probabilities = self.ask(models[-1], rows, self.test)
                right = probabilities.argmax(axis=1) == labels(self.test)
                of_rounds.append(float(right.mean()))
            accuracies.append(of_rounds)
        return accuracies

    def train(self, rows: Sequence[int], seed: int) -> list[TaskModel]:
        """Return a model of each configuration, trained on rows of the pool, and their average."""
        models: list[TaskModel] = []
        task = Task(part_of(self.pool, rows), ())
        for settings in self.settings:
            proposal = Proposal(settings, "", 0)
            trial = make_trial(self.study, self.data, "search", proposal, seed=seed)
            models.append(make_task_model(trial, self.backbone, task, 0))
            if settings is not self.settings[-1]:
                training = TaskTraining(models[-1], trial, self.data, task.train, 0)
                for epoch in range(8):
                    train_tasks([training], Schedule(8, trial.training.warmup_lr), epoch)
        members = [Member(model.parameters(), 1.0) for model in models[:-1]]
        write_average(models[-1].classifier.tuned, members)
        return models

    @torch.no_grad()
    def ask(self, model: TaskModel, rows: Sequence[int], part: Part) -> tuple[Any, Any]:
        """Return the features of images, and their probabilities by a head trained on rows."""
        train = part_of(self.pool, rows)
        ((head, _),) = train_task_heads(model, self.data, train, [(DEFAULT,)])[DEFAULT,]
        assert head is not None
        encoded = encode_part(model, self.data, train, part, ())
        features = torch.cat([*encoded.images])
        logits = model.classifier.logits(features, head.replace_in(encoded.text, part.classes))
        return features.numpy(), logits.softmax(dim=-1).numpy()

    def choose(
        self, strategy: str, models: list[TaskModel], rows: list[int], rng: np.random.Generator
    ) -> Any:
        """Return the rows of the pool to label next."""
        rest = np.setdiff1d(np.arange(len(self.pool.records)), rows)
        if strategy == "random":
            return rng.choice(rest, 50, replace=False).tolist()
        part = part_of(self.pool, rest)
        features, probabilities = self.ask(models[-1], rows, part)
        divergence: Any = np.zeros(len(rest))
        margins = rng.random(len(rest))
        if strategy == "next":
            members = [self.ask(model, rows, part)[1] for model in models[:-1]]
            divergence = disagreement(np.stack(members))
            (margins,) = np.diff(np.sort(probabilities)[:, -2:]).T
        else:
            features = np.ones((len(rest), 1))  # which leave the order as it is
        predicted = probabilities.argmax(axis=1)
        return rest[choose_next(predicted, margins, divergence, features, 50)].tolist()


def part_of(pool: Part, rows: Iterable[int]) -> Part:
    """Return some images of a pool."""
    return replace(pool, records=tuple(pool.records[row] for row in rows))


def labels(part: Part) -> Any:
    """Return the labels of images."""
    return np.array([record.label for record in part.records])


def some(records: Records) -> Records:
    """Return at most 1,000 images."""
    order = np.random.default_rng(0).permutation(len(records))
    return tuple(records[row] for row in order[:1000])


images_of = cache(Images)

if __name__ == "__main__":
    main()
