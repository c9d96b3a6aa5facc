"""The files of studies that never ran, written from a seeded generator, for both protocols."""

import json
import math
from collections.abc import Sequence
from functools import partial
from operator import ne
from pathlib import Path
from typing import Any

import numpy as np

from study.config.trial_settings import HEADS, Head
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import PREDICTIONS
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Prediction
from tests.settings import with_settings

EPOCHS = 12
RUNGS = (3, 6)
SEEDS = (1, 2, 3, 4, 5)
CLIPFIT = "text.mlp.fc2.bias + vision.ln"
SUBSETS = {
    CLIPFIT: 5_120,
    "text.mlp.fc2.bias + vision.ln[0:2]": 2_048,
    "text.bias + vision.ln": 11_264,
    "text.attn.v.bias + text.mlp.fc2.bias + vision.ln + vision.ln_pre": 7_168,
    "text.bias + vision.bias": 16_384,
    "vision.ln": 3_072,
    "text.bias[2:4] + text.ln": 4_096,
}
BASELINES = {
    "zero-shot": "none",
    "clipfit": CLIPFIT,
    "bitfit": "text.bias + vision.bias",
}
CLASSES = tuple(f"glyph {name}" for name in "abcdefghijkl")


class FakeFolder:
    """Writes the files of a study, with scores that depend on subset, learning rates and noise."""

    def __init__(self, folder: Path, *, base_to_new: bool, seed: int = 3):
        self.folder = folder
        self.base_to_new = base_to_new
        self.random = np.random.default_rng(seed)

    def quality(self, subset: str, bias_lr: float | None, ln_lr: float | None) -> float:
        """The score that a configuration tends to, a fraction."""
        score = 0.62 + 0.015 * ("ln" in subset) + 0.01 * ("attn.v" in subset)
        for rate in (bias_lr, ln_lr):
            score += 0.05 - 0.03 * abs(math.log10(rate / 8e-3)) if rate else 0.0
        return score

    def parts(self, prefix: str, score: float) -> dict[str, float]:
        """The protocol's numbers around a score."""
        if not self.base_to_new:
            return {f"{prefix}_accuracy": score, f"{prefix}_score": score}
        base, new = score + 0.08, score - 0.06
        hmean = 2 * base * new / (base + new)
        return {
            f"{prefix}_base": base,
            f"{prefix}_new": new,
            f"{prefix}_hmean": hmean,
            f"{prefix}_score": hmean,
        }

    def write_trial(
        self,
        trial_id: str,
        config: JsonObject,
        *,
        epochs: int,
        status: str | None,
        error: str | None = None,
        test: float | None = None,
    ) -> float:
        """Write one trial; returns its last score."""
        folder = self.folder / "trials" / trial_id
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(with_settings(config)))
        target = self.quality(config["subset"], config["bias_lr"], config["ln_lr"])
        target += self.random.normal(0, 0.004)
        lines: list[JsonObject] = []
        score = target - 0.12
        if epochs == 0:
            validated = config["stage"] == "search"
            lines.append(
                {"epoch": 0, "seconds": 1.0} | (self.parts("val", score) if validated else {})
            )
        for epoch in range(1, epochs + 1):
            score = target - 0.12 * math.exp(-epoch / 3) + self.random.normal(0, 0.003)
            report = {
                "epoch": epoch,
                "train_loss": 0.4 + math.exp(-epoch / 4),
                "cross_entropy": 0.3 + math.exp(-epoch / 4),
                "distillation": 0.1,
                "bias_lr": config["bias_lr"],
                "ln_lr": config["ln_lr"],
                "images_per_second": 900.0,
                "seconds": 1.5,
            }
            if config["stage"] == "search":
                report |= self.parts("val", score)
            lines.append(report)
        head = with_settings(config)["settings"]["head"] or "text"
        for line in lines:
            if "val_score" in line:
                line["head"] = head
        if test is not None:
            scores = self.parts("test", test)
            of_head = {name.removeprefix("test_"): score for name, score in scores.items()}
            lines[-1] |= {**scores, "head": head, "scores": dict.fromkeys(HEADS, of_head)}
            self._write_predictions(folder, test)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "reports.jsonl").write_text(text)
        if status is not None:
            reasons = {"stopped": "asha", "failed": (error or "").rpartition("\n")[2]}
            end = {
                "status": status,
                "epochs": epochs,
                "seconds": 1.5 * epochs,
                "reason": reasons.get(status),
                "error": error,
            }
            (folder / "end.json").write_text(json.dumps(end))
        return score

    def _write_predictions(self, folder: Path, score: float):
        accuracy = {
            name: float(np.clip(score + self.random.normal(0, 0.1), 0, 1)) for name in CLASSES
        }
        half = len(CLASSES) // 2
        halves = {"base": CLASSES[:half], "new": CLASSES[half:]}
        parts = halves if self.base_to_new else {"accuracy": CLASSES}
        predictions = []
        for part, names in parts.items():
            counts = self._confusion([accuracy[name] for name in names])
            for head in HEADS:
                predictions += predictions_of(part, names, counts, head)
        (folder / PREDICTIONS).write_bytes(predictions_to_parquet(predictions))

    def _confusion(self, accuracies: Sequence[float]) -> list[list[int]]:
        counts = []
        for true, accuracy in enumerate(accuracies):
            right = round(40 * accuracy)
            classes = len(accuracies)
            others = [0.0 if c == true else 1 / (classes - 1) for c in range(classes)]
            row = self.random.multinomial(40 - right, others)
            row[true] = right
            counts.append(row.tolist())
        return counts

    def config(self, stage: str, group: str, number: int, **values: Any) -> JsonObject:
        """A trial's configuration with the fields that a study promises."""
        subset = values.get("subset", CLIPFIT)
        return {
            "stage": stage,
            "group": group,
            "number": number,
            "label": values.get("label", group),
            "seed": values.get("seed", 1),
            "subset": subset,
            "bias_lr": values.get("bias_lr", 2e-3),
            "ln_lr": values.get("ln_lr", 2e-3),
            "distill_weight": values.get("distill_weight", 8.0),
            "epochs": values.get("epochs", EPOCHS),
            "trainable": SUBSETS.get(subset, 0),
        }


def predictions_of(
    part: str, names: Sequence[str], counts: Sequence[Sequence[int]], head: Head = "text"
) -> list[Prediction]:
    """Predictions of so many images of each class as each class, of the same images every time."""
    predictions = []
    for true, row in enumerate(counts):
        name = names[true]
        # What is right comes first, so that most images are right with every seed.
        taken = sorted(np.repeat(names, row).tolist(), key=partial(ne, name))
        for number, predicted in enumerate(taken):
            predictions.append(Prediction(head, part, f"{true}-{number}.png", name, predicted, 0.9))
    return predictions


def compute_config_hash(text: str) -> int:
    """A stable stand-in for the study's hash."""
    return sum((index + 1) * ord(letter) for index, letter in enumerate(text))
