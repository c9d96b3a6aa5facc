"""Which one training of a linear head is as good as the choice among five by validation?

    python -m tests.embedded --out second --seed 2
    python tests/benchmarks/heads/heads.py --second second --fonts DIR --photographs DIR

Each draw of shots has a model for each of four folds and one for the test. Its encoders are frozen,
or tuned as CLIPFit does. *Grid* trains five heads on each fold, chooses the training that is best
on the images held out, and trains the head of the test in this way. All others are trained in one
way. Seconds are CPU seconds of the heads of all folds and of the test.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from statistics import fmean, variance
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.data.readers.glyphs import GLYPH_CHARACTERS, character_name
from study.embedded import backbone_path
from study.method.head import DEFAULT, GRID, HeadTraining, train_heads
from study.method.logistic_head import fit_rows
from study.method.training import Schedule
from study.search.make_trial import make_trial
from study.search.searcher import Proposal
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialData
from study.trial.task_features import encode_part, labels_of, text_features, training_features
from study.trial.task_model import TaskModel, make_task_model
from study.trial.task_training import TaskTraining
from tests.benchmarks.measuring import machine, table
from tests.embedded.letters import letter_images

CONFIGS = Path(__file__).parents[3] / "configs"
FROZEN = TrialSettings(subset="none")
TUNED = TrialSettings(subset="clipfit", rates={"bias": 0.05, "ln": 0.05}, distill_weight=1)


class Features(NamedTuple):
    """What the model of one task computes; all rows have unit length."""

    images: Tensor
    """The training images, (images, dim) float32."""
    labels: Tensor
    """Their classes, (images,) int64."""
    text: Tensor
    """The classes, (classes, dim) float32."""
    scale: float
    """CLIP's logit scale."""
    tested: Tensor
    """The images to classify, (images, dim) float32."""
    truth: Tensor
    """The positions of their classes among the possible answers, (images,) int64."""

    def accuracy(self, rows: Tensor) -> float:
        """Return the share of images whose class has the highest logit."""
        return ((self.tested @ rows.T).argmax(dim=1) == self.truth).double().mean().item()


class Draw(NamedTuple):
    """The features of the models of one draw of shots."""

    folds: list[Features]
    test: Features


def by_grid(draw: Draw) -> Tensor:
    """Return the head of the training that is best on the folds, as a trial and its test do."""
    scores = torch.zeros(len(GRID))
    for fold in draw.folds:
        heads = train_heads(fold.images, fold.labels, fold.text, fold.scale, GRID)
        scores += torch.tensor([fold.accuracy(rows) for rows in heads])
    return by_adam(GRID[int(scores.argmax())], draw.test)


def by_adam(training: HeadTraining, model: Features) -> Tensor:
    """Return the head of one training of the grid."""
    (rows,) = train_heads(model.images, model.labels, model.text, model.scale, [training])
    return rows


def by_adamw(model: Features) -> Tensor:
    """Return rows that begin at the text, by a rate that falls in a cosine."""
    steps = min(120 * len(model.images) // len(model.text), 2000)
    rows = model.text.clone().requires_grad_()
    optimizer = torch.optim.AdamW([rows], lr=2e-4, weight_decay=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-6)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model.scale * model.images @ F.normalize(rows, dim=-1).T
        F.cross_entropy(logits, model.labels).backward()
        optimizer.step()
        cosine.step()
    return rows.detach()


def near(
    prior: Callable[[Features], Tensor], scale: float | None, penalty: float, model: Features
) -> Tensor:
    """Return the rows of a logistic regression that is held near a prior; None is CLIP's scale."""
    scale = scale or model.scale
    return fit_rows(model.images, model.labels, prior(model), scale, penalty=penalty)


def text(model: Features) -> Tensor:
    """Return the text features of the classes."""
    return model.text


def means(model: Features) -> Tensor:
    """Return the mean features of the images of each class."""
    sums = torch.zeros_like(model.text).index_add(0, model.labels, model.images)
    return F.normalize(sums, dim=-1)


def text_and_means(model: Features) -> Tensor:
    """Return the normalised sum of both, each centred over classes."""
    centred = [F.normalize(rows - rows.mean(dim=0), dim=-1) for rows in (text(model), means(model))]
    return F.normalize(sum(centred, torch.tensor(0.0)), dim=-1)


def in_one_way(train: Callable[[Features], Tensor], draw: Draw) -> Tensor:
    """Return the head of the test, after those of the folds, which the score of a trial needs."""
    *_, head = map(train, [*draw.folds, draw.test])
    return head


GRID_NAME = "grid, chosen on folds"
WAYS: dict[str, Callable[[Draw], Tensor]] = {
    GRID_NAME: by_grid,
    "text features": partial(in_one_way, text),
    f"Adam, {DEFAULT.lr:g}, {DEFAULT.steps} steps": partial(in_one_way, partial(by_adam, DEFAULT)),
    "AdamW, 2e-4, cosine": partial(in_one_way, by_adamw),
}
for penalty in (0.1, 0.3, 1.0):
    head = partial(near, text, None, penalty)
    WAYS[f"logistic near text at CLIP's scale, μ = {penalty:g}"] = partial(in_one_way, head)
for prior in (text, means, text_and_means):
    for penalty in (0.1, 1.0, 10.0):
        name = f"logistic near {prior.__name__.replace('_', ' ')} at scale 20, μ = {penalty:g}"
        WAYS[name] = partial(in_one_way, partial(near, prior, 20.0, penalty))


class Case(NamedTuple):
    """A dataset with a backbone."""

    changes: tuple[str, ...]
    """What is different from the quickstart."""
    settings: TrialSettings = FROZEN


def cases(options: argparse.Namespace, storage: Path) -> dict[str, Case]:
    """Return the cases for which there is what they need."""
    digits: tuple[str, ...] = ("data.dataset=digits",)
    found = {
        "digits": Case(digits),
        "digits, tuned": Case(digits, TUNED),
        "glyphs": Case(("data.dataset=glyphs",)),
    }
    if options.second:
        digits += (f"backbone.name={options.second.resolve()}",)
        found["digits, second checkpoint"] = Case(digits)
        found["digits, second checkpoint, tuned"] = Case(digits, TUNED)
    if options.fonts:
        root = f"data.root={write_characters(options.fonts, storage / 'characters')}"
        prompt = 'data.templates=["a photo of the {}."]'
        found["other fonts"] = Case(("data.dataset=characters", root, prompt))
    if options.photographs:
        folder = options.photographs.resolve()
        root, backbone = (
            f"data.root={folder / 'photos30'}",
            f"backbone.name={folder / 'photo-clip'}",
        )
        found["photographs"] = Case(("data.dataset=photos30", root, backbone))
    return found


def write_characters(fonts: Path, folder: Path) -> Path:
    """Write the characters of `glyphs`, drawn in the fonts of a folder, as folders of classes."""
    files = [str(file.resolve()) for file in sorted(fonts.glob("*.ttf"))]
    for character in GLYPH_CHARACTERS:
        for split in ("train", "test"):
            place = folder / split / character_name(character)
            place.mkdir(parents=True, exist_ok=True)
            for number, pixels in enumerate(letter_images(character, split, files)):
                Image.fromarray(pixels).save(place / f"{number:02d}.png")
    return folder


def draw_features(case: Case, shots: int, seed: int, storage: Path) -> Draw:
    """Return the features of one draw of shots."""
    changes = [f"storage={storage}", f"seed={seed}", f"data.shots={shots}", *case.changes]
    config = load_config(CONFIGS / "quickstart.yaml", changes)
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        study = Study(config, StudyFolder(Path(folder)))
        preparer = Preparer(study, study.architecture.image_size)
        *folds, test = (
            features_of(model, data)
            for data in (preparer.search(), preparer.confirm(seed))
            for model in trained_models(study, data, case.settings)
        )
    return Draw(folds, test)


def trained_models(study: Study, data: TrialData, settings: TrialSettings) -> Iterator[TaskModel]:
    """Yield the model of each task, once it is trained."""
    config = make_trial(study, data, "search", Proposal(settings, "clipfit", 0))
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    for index in range(len(data.tasks)):
        model = make_task_model(config, data, loaded(study.config.backbone.name), index)
        if config.epochs:
            training = TaskTraining(model)
            for epoch in range(config.epochs):
                training.train_epoch(schedule, epoch)
        yield model


@cache
def loaded(name: str) -> Backbone:
    """Load a backbone once."""
    return load_backbone(backbone_path(name))


@torch.no_grad()
def features_of(model: TaskModel, data: TrialData) -> Features:
    """Return the features of the images and classes of a task."""
    train, parts = model.task.train, model.task.evaluations
    tested = [batch for part in parts for batch in encode_part(model, part, ()).images]
    images = training_features(model)  # several views of each image if they are augmented
    return Features(
        images=images,
        labels=labels_of(train).repeat(len(images) // len(train.records)),
        text=text_features(model, data.own_target, train.classes),
        scale=model.classifier.clip.logit_scale.exp().item(),
        tested=torch.cat(tested),
        truth=torch.cat([*map(labels_of, parts)]),
    )


Accuracies = Mapping[str, Mapping[str, list[float]]]
"""The test accuracies of each way in each case, a percentage for each draw."""


def main() -> None:
    """Train all heads, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shots", nargs="+", type=int, default=(2, 4, 16))
    parser.add_argument("--seeds", nargs="+", type=int, default=range(411, 417), help="at least 2")
    parser.add_argument("--second", type=Path, help="a checkpoint of another seed")
    parser.add_argument("--fonts", type=Path, help="a folder of .ttf files")
    parser.add_argument("--photographs", type=Path, help="a folder with photos30 and photo-clip")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{shlex.join(sys.argv)}: {machine()}\n", flush=True)
    accuracies: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(options, Path(folder)).items():
            for shots in options.shots:
                for seed in options.seeds:
                    draw = draw_features(case, shots, seed, Path(folder))
                    for way, head_of in WAYS.items():
                        began = time.process_time()
                        rows = head_of(draw)
                        seconds[way].append(time.process_time() - began)
                        accuracies[way][f"{name}, {shots}"].append(100 * draw.test.accuracy(rows))
                print(f"{name}, {shots} shots", file=sys.stderr, flush=True)
    print(overall_table(accuracies, seconds))
    header = ["case, shots", *accuracies]
    columns = [
        [f"{fmean(draws):.1f}" for draws in of_way.values()] for of_way in accuracies.values()
    ]
    rows_of_cases = zip(accuracies[GRID_NAME], *columns, strict=True)
    print(table("Test accuracy of each case, %", header, [*map(list, rows_of_cases)]))


def overall_table(accuracies: Accuracies, seconds: Mapping[str, list[float]]) -> str:
    """Return the means over cases, with the standard errors that draws of the same cases have."""
    grid = accuracies[GRID_NAME]
    rows = []
    for way, by_case in accuracies.items():
        gains = [
            [one - of_grid for one, of_grid in zip(draws, grid[case], strict=True)]
            for case, draws in by_case.items()
        ]
        error = math.sqrt(sum(variance(gain) / len(gain) for gain in gains)) / len(gains)
        cells = [f"{fmean(map(fmean, by_case.values())):.2f}"]
        cells.append(f"{fmean(map(fmean, gains)):+.2f} ± {error:.2f}")
        cells += [f"{min(map(fmean, gains)):+.1f}", f"{fmean(seconds[way]):.3f}"]
        rows.append([way, *cells])
    header = ("head", "mean of cases, %", "Δ to the grid ± standard error", "worst case", "CPU s")
    return table(f"Test accuracy, {len(grid)} cases", header, rows)


if __name__ == "__main__":
    main()
