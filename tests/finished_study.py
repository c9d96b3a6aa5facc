"""Finished studies on the embedded digits: one real training, and folders written around it."""

import shutil
from pathlib import Path
from typing import Any

import torch

from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.config.trial_settings import Head as HeadName
from study.config.trial_settings import TrialSettings
from study.embedded import EMBEDDED, backbone_path
from study.method.delta import head_tensors, load_delta, save_delta
from study.method.head import Head
from study.storage.result_folder import JsonObject
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import PREDICTIONS, End
from study.trial.predictions import predictions_to_parquet
from study.trial.prepare import Preparer
from study.trial.study import Candidate, Prediction, Study, TrialConfig
from tests.small_trials import train_and_save

SEEDS = (1, 2)
BEST = {"subset": "text.mlp.fc2.bias + vision.ln", "bias_lr": 0.05, "ln_lr": 0.1}
LINEAR = {"head": "linear", "alpha": 0.75}
"""What a linear head adds to the settings; its head is of the third digit and the first."""


class Finished:
    """A study's folder after test, with the files of one real training as its best."""

    def __init__(self, place: Path, trained: Path, name: str, **changes: Any):
        values = {
            "name": name,
            "data": {"augment": False},
            "tracking": {"experiment": changes.get("experiment", "finished")},
            "search": {"selection": changes.get("selection", "holdout")},
            "test": {"seeds": list(SEEDS)},
            "storage": str(place),
        }
        self.config: StudyConfig = build_config(values, name)
        self.folder = StudyFolder(place / name)
        self.folder.create(dump_config(self.config), {})
        shutil.copytree(trained / "shots", self.folder.path / "shots")
        self._trained = trained
        self._split_hash = changes.get("split_hash", "f" * 16)
        self.val_score: float = changes.get("val_score", 0.8)
        self._images: list[int] = changes.get("images", [90] * 10)
        self._right: list[int] | None = changes.get("right")
        self._best: JsonObject = BEST | (LINEAR if changes.get("linear") else {})
        self._search("baseline", "zero-shot", 0, 0.7, {"subset": "none"})
        self._search("search", "trial 1", 1, self.val_score, self._best)
        self._search("search", "trial 2", 2, self.val_score - 0.1, BEST | {"ln_lr": 0.01})
        for seed in SEEDS:
            self.test(seed, test_score=changes.get("test_score", 0.75))
        candidates = [
            Candidate(
                label=label,
                val_score=score,
                source_trial=trial,
                settings=TrialSettings.from_column_values(w),
                training=label,
                search_trials=2,
            )
            for label, w, score, trial in (
                ("zero-shot", {"subset": "none"}, 0.7, "search-0000"),
                ("best", self._best, self.val_score, "search-0001"),
            )
        ]
        self.folder.write_json("candidates.json", [c.model_dump(mode="json") for c in candidates])
        (self.folder.path / DESCRIPTION).write_text("what was found")

    @property
    def study(self) -> Study:
        """The study, of which nothing has been read."""
        return Study(self.config, self.folder)

    def test(self, seed: int, label: str = "best", test_score: float = 0.75):
        """Write a finished test with the trained delta; of zero-shot CLIP there is none."""
        trial = self.folder.trial(f"test-{label}-seed{seed}")
        own: JsonObject = {"subset": "none"} if label == "zero-shot" else self._best
        self._trial(trial.trial_id, "test", label, label, seed, seed, own)
        if label != "zero-shot":
            tensors, info = load_delta(self._trained / "delta.safetensors")
            tensors |= head_tensors(self._head) if "head" in own else {}
            save_delta(trial.path / "delta.safetensors", tensors, info)
        scores = {"test_accuracy": test_score, "test_score": test_score}
        head: HeadName = "linear" if own.get("head") == "linear" else "text"
        scores[f"test_score_{head}"] = test_score
        of_head = {head: {"accuracy": test_score, "score": test_score}}
        trial.append_report({"epoch": 1, "seconds": 1.0, **scores, "head": head, "scores": of_head})
        right = self._right or [round(images * test_score) for images in self._images]
        names = [f"digit {number}" for number in range(len(self._images))]
        predictions = []
        for true, images in enumerate(self._images):
            name, other = names[true], names[(true + 1) % len(names)]
            for number in range(images):
                taken = name if number < right[true] else other
                path = f"{true}-{number}.png"
                predictions.append(Prediction(head, "accuracy", path, name, taken, 0.9))
        trial.write(PREDICTIONS, predictions_to_parquet(predictions))
        trial.write_end(End("finished", 1, 1.0))

    @property
    def _head(self) -> Head:
        """A head of the third digit and the first, of random rows."""
        dim = self.study.architecture.dim
        rows = torch.randn(2, dim, generator=torch.Generator().manual_seed(3))
        return Head(torch.nn.functional.normalize(rows, dim=-1), (2, 0))

    def _search(self, group: str, label: str, number: int, score: float, best: JsonObject):
        trial = self.folder.trial(f"search-{number:04d}")
        head = best.get("head", "text")
        proposed = {**best, "head": None}  # which validation chooses
        self._trial(trial.trial_id, "search", group, label, number, 1, proposed)
        for epoch in (1, 2):
            now = score - 0.1 * (2 - epoch)
            report = {"epoch": epoch, "seconds": 1.0, "train_loss": 1.0 - now, "val_score": now}
            trial.append_report({**report, "head": head})
        trial.write_end(End("finished", 2, 2.0))

    def _trial(
        self,
        trial_id: str,
        stage: Any,
        group: str,
        label: str,
        number: int,
        seed: int,
        settings: JsonObject,
    ):
        config = TrialConfig(
            trial_id=trial_id,
            stage=stage,
            group=group,
            label=label,
            number=number,
            seed=seed,
            trainable=0 if settings["subset"] == "none" else 1728,
            epochs=2,
            split_hash=self._split_hash,
            settings=TrialSettings.from_column_values(settings),
        )
        self.folder.trial(trial_id).create(config.model_dump(mode="json"))


def train(place: Path):
    """Write shots and a delta of CLIPFit, really trained on digits for a few epochs."""
    config = build_config({"storage": str(place), "data": {"augment": False}}, "trained")
    backbone = load_backbone(backbone_path(EMBEDDED))
    preparer = Preparer(Study(config, StudyFolder(place)), backbone.image_size)
    data = preparer.test(SEEDS[0])
    for seed in SEEDS[1:]:
        preparer.shots(seed)
    trial = TrialConfig(
        trial_id="t",
        stage="test",
        group="best",
        label="best",
        number=0,
        seed=SEEDS[0],
        trainable=1728,
        epochs=6,
        split_hash="f" * 16,
        settings=TrialSettings.from_column_values(BEST),
    )
    train_and_save(place, trial, data, backbone, EMBEDDED)
