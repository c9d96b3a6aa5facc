"""Whole studies that never ran, with scores from a seeded generator, for both protocols."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from study.config.trial_settings import HEADS, Head, TrialSettings
from study.storage.trial_folder import PREDICTIONS, Status
from study.trial.study import Candidate, EpochReport, Prediction, TrialConfig
from tests.study_writer import CLASSES, SEEDS, StudyWriter, predictions_of, predictions_right

EPOCHS = 12
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
SUBSETS = {
    CLIPFIT: 5_120,
    "text.mlp.fc2.bias + vision.ln[0:2]": 2_048,
    "text.bias + vision.ln": 11_264,
    "text.attn.v.bias + text.mlp.fc2.bias + vision.ln_pre + vision.ln": 7_168,
    "text.bias + vision.bias": 16_384,
    "vision.ln": 3_072,
    "text.ln + text.bias[2:4]": 4_096,
}
"""The number of trainable parameters of each subset."""
BASELINES = {
    "zero-shot": "none",
    "clipfit": CLIPFIT,
    "bitfit": "text.bias + vision.bias",
}
MEANS = {
    "zero-shot": 0.60,
    "clipfit": 0.68,
    "bitfit": 0.69,
    "clipfit-tuned": 0.70,
    "best": 0.70,
    "second": 0.702,
    "third": 0.698,
}
"""The candidates, and the means of their tests; to that of the best an edge is added."""
CELLS = {
    "base": (CLIPFIT, 0.0),
    "without text.mlp.fc2.bias": ("vision.ln", -0.06),
    "without vision.ln": ("text.mlp.fc2.bias", -0.04),
    "only text.attn.v.bias": ("text.attn.v.bias", -0.001),
    "only vision.ln[0:2]": ("vision.ln[0:2]", -0.012),
    "only vision.ln[2:4]": ("vision.ln[2:4]", 0.001),
    "text.bias + vision.ln": ("text.bias + vision.ln", 0.04),
}
"""The cells of an ablation: their subsets, and how far from the base their tests are."""


class ExampleStudy(StudyWriter):
    """A writer of studies whose scores are drawn."""

    def __init__(self, path: Path, **sections: Any):
        super().__init__(path, **sections)
        self.base_to_new = self.config.protocol == "base_to_new"
        self.random = np.random.default_rng(5 if self.base_to_new else 3)
        half = len(CLASSES) // 2
        self._parts: Mapping[str, Sequence[str]] = {"accuracy": CLASSES}
        if self.base_to_new:
            self._parts = {"base": CLASSES[:half], "new": CLASSES[half:]}

    def proposed(self, stage: str, group: str, number: int, **fields: Any) -> TrialConfig:
        """Begin a trial; its subset is CLIPFit's unless another one is given."""
        subset = fields.get("subset", CLIPFIT)
        rates = {f"{kind}_lr": 2e-3 if kind in subset else None for kind in ("bias", "ln")}
        values = {
            "stage": stage,
            "group": group,
            "label": group,
            "subset": subset,
            "distill_weight": 8.0,
            "trainable": SUBSETS.get(subset, 0),
            "epochs": EPOCHS,
            **rates,
        }
        return self.trial(number, **values | fields)

    def _with_scores(
        self, report: EpochReport, prefix: str, score: float, heads: Sequence[Head]
    ) -> EpochReport:
        """Add the protocol's score, and its parts, which are around it, to a report."""
        scores = {"accuracy": score, "score": score}
        if self.base_to_new:
            base, new = score + 0.08, score - 0.06
            hmean = 2 * base * new / (base + new)
            scores = {"base": base, "new": new, "hmean": hmean, "score": hmean}
        metrics = {f"{prefix}{name}": value for name, value in scores.items()}
        of_heads = dict.fromkeys(heads, scores)
        return replace(report, metrics=report.metrics | metrics, scores=of_heads)

    def train(
        self,
        config: TrialConfig,
        epochs: int | None = None,
        status: Status | None = "finished",
        *,
        test: float | None = None,
        **cause: Any,
    ) -> float:
        """Record the epochs of a trial, with its test score if it has one.

        Returns:
            Its validation score, which is drawn.
        """
        score = float(self.random.normal(0.72 if config.epochs else 0.5, 0.03))
        head = config.settings.head or "text"
        last = config.epochs if epochs is None else epochs
        for epoch in range(1, last + 1) if last else (0,):
            report = EpochReport(epoch, epoch == config.epochs, {"seconds": 1.5}, head=head)
            if config.stage == "search":
                report = self._with_scores(report, "val_", score, [head])
            elif report.done and test is not None:
                report = self._with_scores(report, "test_", test, HEADS)
                report = replace(report, predictions=self._predictions(test))
            self.record(config, report)
        if status:
            self.end(config, status, **cause)
        return score

    def _predictions(self, score: float) -> list[Prediction]:
        """Predict 40 images of each class, about as many right ones as the score says."""
        predictions = []
        for part, names in self._parts.items():
            counts = []
            for true in range(len(names)):
                right = round(40 * np.clip(score + self.random.normal(0, 0.1), 0, 1))
                row = self.random.multinomial(40 - right, [1 / len(names)] * len(names))
                row[true] += right
                counts.append(row.tolist())
            for head in HEADS:
                predictions += predictions_of(part, names, counts, head)
        return predictions

    def add_candidate(
        self,
        label: str,
        effect: float = 0.0,
        *,
        val_score: float,
        **settings: Any,
    ):
        """Test a further candidate.

        Args:
            label: its label.
            effect: how much better it is on test than the best configuration, a fraction.
            val_score: its validation score.
            settings: its settings, as columns of tables.
        """
        own = TrialSettings.from_column_values({"subset": "none", **settings})
        candidate = self.choose_also(label, own, val_score=val_score)
        for number, seed in enumerate(SEEDS):
            *_, best = self.folder.trial(f"test-best-seed{seed}").read_reports()
            test = best["test_score"] + effect + self.random.normal(0, 0.002)
            self.test(candidate, number, seed, test)

    def test(self, candidate: Candidate, number: int, seed: int, score: float):
        """Train and test a candidate."""
        label, settings = candidate.label, candidate.settings
        config = self.proposed(
            "test",
            label,
            number,
            trial_id=f"test-{label}-seed{seed}",
            seed=seed,
            epochs=0 if label == "zero-shot" else EPOCHS,
            trainable=SUBSETS.get(settings.subset, 0),
            settings=settings,
        )
        self.train(config, test=score)

    def add_linear(self):
        """Add a linear classifier as candidate, and give the best configuration a linear head."""
        best = self.candidates["best"].settings.model_copy(update={"head": "linear"})
        self.change_candidate("best", settings=best)
        self.add_candidate("linear", -0.01, val_score=0.6, head="linear")

    def choose_full(self):
        """Let validation have chosen full fine-tuning, which cannot be saved as a delta."""
        self.add_candidate("full", 0.02, val_score=0.9, method={"method": "full", "lr": 1e-4})
        self.add_candidate("best-with-delta", -0.01, val_score=0.7, subset="vision.ln")
        self.choose_other("full")

    def add_final(self, images: str):
        """Add the final training, on other images."""
        self.configure(f"final.images={images}")
        number = str(self.candidates["best"].source_trial).removeprefix("search-")
        trial_id = f"final-{images}-{number}"
        trials = self.folder.path / "trials"
        shutil.copytree(trials / "test-best-seed1", trials / trial_id)
        self.change(trial_id, stage="final", split_hash="00ff")
        self.record_split("00ff", [*map(str, range(60))])

    def share_images(self, share: float):
        """Record what each tested seed trained on: so many of 20 images are common to all."""
        common = round(20 * share)
        for trial, config in self.folder.trials_of("test", "ablation"):
            seed = config["seed"]
            names = [f"common-{n}" if n < common else f"{seed}-{n}" for n in range(20)]
            self.record_split(f"{seed:04x}", names)
            self.change(trial.trial_id, split_hash=f"{seed:04x}")

    def set_images(self, *images: int, naming_the_largest: bool = False):
        """Let a study's test have so many images of each class, in every part.

        Each trial is right about the share of each class that is its test score or, to guess, about
        the first class alone.
        """
        for trial in self.folder.trials():
            if trial.read(PREDICTIONS) is None:
                continue
            score = trial.read_reports()[-1]["test_score"]
            right = [round(number * score) for number in images]
            if naming_the_largest:
                right = [images[0], *[0] * (len(images) - 1)]
            predictions = []
            for part in self._parts:
                for head in HEADS:
                    predictions += predictions_right(part, CLASSES, images, right, head)
            self.predict(trial.trial_id, predictions)

    def add_likely_mislabelled(self, wrong: str, classes: Sequence[str]):
        """Let all trials of the search take the first of nine images for the second class."""
        first, second = classes
        seen = [Prediction("text", "accuracy", wrong, first, second, 0.9, 0.01)]
        for number in range(1, 9):
            label, path = classes[number % 2], f"{number}.png"
            fold = number % 3
            seen.append(Prediction("text", "accuracy", path, label, label, 0.8, 0.8, fold=fold))
        for trial, _ in self.folder.trials_of("search"):
            self.predict(trial.trial_id, seen)


def written_once(write: Callable[..., None]) -> Callable[..., Path]:
    """Write each study once for this process, and make copies of it."""

    @cache
    def place_of(name: str, **options: Any) -> TemporaryDirectory[str]:
        place = TemporaryDirectory()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda _: None)  # it takes most of the time
            write(Path(place.name, name), **options)
        return place

    def written(folder: Path, **options: Any) -> Path:
        shutil.copytree(Path(place_of(folder.name, **options).name, folder.name), folder)
        return folder

    return written


@written_once
def search_study(folder: Path, *, base_to_new: bool = False, edge: float = 0.01):
    """Write a finished study: baselines, two search groups, seven candidates with five seeds.

    Args:
        folder: where the study goes.
        base_to_new: the protocol.
        edge: how much better the best configuration is on test than tuned CLIPFit, a fraction.
    """
    study = ExampleStudy(
        folder,
        protocol="base_to_new" if base_to_new else "few_shot",
        data={"dataset": "glyphs", "shots": 4},
        training={"epochs": EPOCHS},
        search={"trials": 35},
        storage="runs",
    )
    scored = _search(study)
    ranked = sorted((one for one in scored if one[1].group != "baseline"), key=lambda one: -one[0])
    tuned = [one for one in ranked if one[1].group == "clipfit-tuned"]
    proposed = [one for one in ranked if one[1].group == "search"]
    chosen = [*scored[: len(BASELINES)], tuned[0], *proposed[:3]]
    for label, (score, config) in zip(MEANS, chosen, strict=True):
        fields = {"val_score": score, "source_trial": config.trial_id}
        study.choose_also(label, config.settings, **fields)
    shot_luck = study.random.normal(0, 0.01, len(SEEDS))
    for candidate in study.candidates.values():
        mean = MEANS[candidate.label] + (edge if candidate.label == "best" else 0)
        for number, own in enumerate(SEEDS):
            luck = 0.0
            if candidate.label != "zero-shot":
                luck = shot_luck[number] + study.random.normal(0, 0.004)
            study.test(candidate, number, own, round(mean + luck, 4))


def _search(study: ExampleStudy) -> list[tuple[float, TrialConfig]]:
    """Write the search stage; return its finished trials with their scores."""
    finished = []
    for number, (label, subset) in enumerate(BASELINES.items()):
        epochs = 0 if subset == "none" else EPOCHS
        baseline = {"label": label, "subset": subset, "epochs": epochs}
        config = study.proposed("search", "baseline", number, **baseline)
        finished.append((study.train(config), config))
    for number in range(len(BASELINES), 35):
        group = "search" if number % 4 else "clipfit-tuned"
        subset = str(study.random.choice([*SUBSETS])) if number % 4 else CLIPFIT
        rates = {}
        for kind in ("bias", "ln"):
            if kind in subset:
                rates[f"{kind}_lr"] = float(10 ** study.random.uniform(-3.5, -1.3))
        weight = float(study.random.choice([0.25, 1.0, 8.0]))
        values = {"label": f"trial {number}", "subset": subset, "distill_weight": weight, **rates}
        config = study.proposed("search", group, number, **values)
        if number % 11 == 7:
            reason = "NonFiniteLossError: epoch 3, step 5: loss is <nan>"
            study.train(config, 2, "failed", reason=reason, error=f"Traceback:\n  ...\n{reason}")
        elif number % 3 == 0:
            study.train(config, 3, "stopped", reason="asha")
        else:
            finished.append((study.train(config), config))
    return finished


@written_once
def ablation_study(folder: Path):
    """Write a finished ablation: each cell with five seeds, at a known distance to the base."""
    study = ExampleStudy(folder, protocol="few_shot", data={"dataset": "glyphs"}, storage="runs")
    luck = study.random.normal(0, 0.01, len(SEEDS))
    for number, (label, (subset, effect)) in enumerate(CELLS.items()):
        for own in SEEDS:
            trial_id = f"ablation-{number}-seed{own}"
            config = study.proposed(
                "ablation", label, number, trial_id=trial_id, seed=own, subset=subset
            )
            test = 0.7 + effect + luck[own - 1] + study.random.normal(0, 0.003)
            study.train(config, test=test)
    study.study.write_cells({})
