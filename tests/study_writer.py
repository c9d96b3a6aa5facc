"""Folders of studies that never ran, written from typed objects by the product's own writers."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import ne
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.config.loading import build_config, dump_config, load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import Head, TrialSettings
from study.data.records import Record
from study.data.tasks import Part, Task
from study.method.delta import DeltaInfo
from study.search.checkpoints import record_epochs
from study.search.recorded_trials import RecordedTrial, close_trial
from study.storage.atomic import sha256_of
from study.storage.result_folder import json_bytes
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import PREDICTIONS, VALIDATION, End, Status
from study.trial.predictions import predictions_to_parquet
from study.trial.study import SPLIT_HASH, Candidate, EpochReport, Prediction, Study, TrialConfig
from tests.not_none import not_none
from tests.settings import trial_data, with_settings

EPOCHS = 3
SEEDS = (1, 2, 3, 4, 5)
CLASSES = tuple(f"glyph {name}" for name in "abcdefghijkl")
DIGITS_AND_LETTERS = dict.fromkeys(("digits", "letters"), "ab")
INFO = DeltaInfo(
    backbone="tiny",
    revision=None,
    fingerprint="0",
    subset="vision.ln[0:2]",
    class_names=("a", "b"),
    templates=("{}",),
)


class StudyWriter:
    """A study's folder, and what writes trials and candidates into it.

    Args:
        path: the folder; a study that is there is changed.
        sections: those of its configuration, over few that all have.
    """

    def __init__(self, path: Path, **sections: Any):
        self.folder = StudyFolder(path)
        if not self.folder.config_path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            given = {
                "name": path.name,
                "storage": str(path.parent),
                "tracking": {"experiment": path.name},
                "final": {"images": "shots"},
                **sections,
            }
            self.folder.create(dump_config(build_config(given, path.name)), {})

    @property
    def config(self) -> StudyConfig:
        """The frozen configuration."""
        return load_config(self.folder.config_path, frozen=True)

    @property
    def study(self) -> Study:
        """The study, of which nothing has been read."""
        return Study(self.config, self.folder)

    def configure(self, *overrides: str):
        """Change the frozen configuration."""
        changed = load_config(self.folder.config_path, overrides, frozen=True)
        self.folder.write_config(dump_config(changed))

    def trial(self, number: int, **fields: Any) -> TrialConfig:
        """Begin a trial; its settings may be given as columns of tables, such as ``ln_lr``."""
        values: dict[str, Any] = {
            "trial_id": f"search-{number:04d}",
            "stage": "search",
            "group": "search",
            "label": f"trial {number}",
            "number": number,
            "seed": 1,
            "subset": "vision.ln[0:2]",
            "trainable": 1536,
            "ln_lr": 0.01 + number,
            "epochs": EPOCHS,
            "split_hash": "f" * 16,
        }
        config = TrialConfig.model_validate(with_settings(values | fields))
        self.folder.trial(config.trial_id).create(config.model_dump(mode="json"))
        return config

    def record(self, config: TrialConfig, report: EpochReport, info: DeltaInfo = INFO):
        """Record an epoch of a trial as it reports it."""
        split = "val" if config.stage == "search" else "test"
        folder = self.folder.trial(config.trial_id)
        record_epochs(folder, [report], trial_data(split=split), info)
        if not report.predictions:
            (folder.path / VALIDATION).unlink(missing_ok=True)

    def report(self, config: TrialConfig, epoch: int, seconds: float = 0.5) -> dict[str, float]:
        """Record an epoch of a trial that tunes one value, and return its metrics."""
        score = round(0.1 * config.number + 0.01 * epoch, 6)
        metrics = {"train_loss": 2.0 - score, "val_score": score, "seconds": seconds}
        bias, done = torch.ones(1), epoch == config.epochs
        state = {} if done else {"0.parameter.bias": bias}
        head = config.settings.head or "text"
        deltas = ({"bias": bias},)
        self.record(config, EpochReport(epoch, done, metrics, state, deltas, head=head))
        return metrics

    def end(self, config: TrialConfig, status: Status = "finished", **cause: Any) -> End:
        """Close a trial."""
        trial = self.folder.trial(config.trial_id)
        open_one = RecordedTrial(trial, config, None, trial.read_reports(), None)
        closed = close_trial(open_one, [], status, **cause)
        trial.delete_state()
        return not_none(closed.end)

    def whole(
        self, number: int, status: Status = "finished", epochs: int = EPOCHS, **cause: Any
    ) -> TrialConfig:
        """Write a trial from its beginning to its end."""
        config = self.trial(number)
        for epoch in range(1, epochs + 1):
            self.report(config, epoch)
        self.end(config, status, **cause)
        return config

    def conclude(self):
        """Write what a study writes last of all."""
        self.folder.write(DESCRIPTION, b"the **best** is here")

    def change(self, trial_id: str, **fields: Any):
        """Change fields of the configuration of a trial."""
        trial = self.folder.trial(trial_id)
        config = TrialConfig.model_validate({**trial.read_config(), **fields})
        trial.write("config.json", json_bytes(config.model_dump(mode="json")), recorded=True)

    def fail(self, trial_id: str):
        """Let a trial have failed."""
        self.folder.trial(trial_id).write_end(End("failed", 1, 1.0))

    def predict(self, trial_id: str, predictions: Sequence[Prediction]):
        """Let a trial have these predictions of test images or, of a search, validation images."""
        name = VALIDATION if trial_id.startswith("search-") else PREDICTIONS
        self.folder.trial(trial_id).write(name, predictions_to_parquet(predictions), recorded=True)

    @property
    def candidates(self) -> dict[str, Candidate]:
        """The candidates by label."""
        return {one.label: one for one in self.study.candidates() or ()}

    def choose(self, *candidates: Candidate):
        """Write which configurations are tested."""
        self.study.write_candidates(candidates)

    def choose_also(self, label: str, settings: TrialSettings, **fields: Any) -> Candidate:
        """Add a candidate, or replace one; its training has its label unless another is given."""
        values = {"training": label, "search_trials": 35, **fields}
        candidate = Candidate(label=label, settings=settings, **values)
        self.choose(*{**self.candidates, label: candidate}.values())
        return candidate

    def change_candidate(self, label: str, **fields: Any):
        """Change fields of a candidate."""
        known = self.candidates
        known[label] = known[label].model_copy(update=fields)
        self.choose(*known.values())

    def choose_other(self, label: str):
        """Let validation choose another candidate, which is listed before the best."""
        known = self.candidates
        chosen = known.pop(label).model_copy(update={"val_score": 0.95})
        same = {"settings": chosen.settings, "training": chosen.training}
        known["best"] = known["best"].model_copy(update=same)
        at = [*known].index("best")
        ordered = [*known.values()]
        self.choose(*ordered[:at], chosen, *ordered[at:])

    def drop(self, *patterns: str):
        """Delete trials whose ids match, such as ``test-best-seed*``."""
        for pattern in patterns:
            for path in self.folder.path.glob(f"trials/{pattern}"):
                shutil.rmtree(path)

    def drop_search(self):
        """Let nothing have been searched."""
        known = self.candidates
        for label in ("best", "second", "third"):
            known.pop(label, None)
            self.drop(f"test-{label}-seed*")
        self.drop("search-*")
        self.choose(*known.values())

    def leave_one_seed(self):
        """Take all seeds but the first from what was tested."""
        self.drop(*(f"[ta]*-seed{seed}" for seed in SEEDS[1:]))

    def forget_images(self):
        """Take what tested trials predicted, so that their test images are unknown."""
        for path in self.folder.path.glob(f"trials/*/{PREDICTIONS}"):
            path.unlink()

    def record_split(self, digest: str, names: Sequence[str], *labels: int):
        """Record that a split was trained on these images, of one class after another.

        The dataset names the classes in the reverse order, and has one test image.
        """
        labels = labels or tuple(number % 12 for number in range(len(names)))
        train = tuple(Record(name, label) for name, label in zip(names, labels, strict=True))
        classes = tuple(range(12))
        test = Part("accuracy", (Record("test.png", 0),), classes)
        task = Task(Part("train", train, classes), (test,))
        self._write_tasks(digest, tasks_file(task, datasets={"glyphs": CLASSES[::-1]}))

    def record_tasks(self, *tasks: Task) -> str:
        """Record the tasks of trials on digits and letters; return their split hash."""
        digest = sha256_of("".join(task.digest for task in tasks).encode())[:SPLIT_HASH]
        self._write_tasks(digest, tasks_file(*tasks))
        return digest

    def _write_tasks(self, digest: str, contents: bytes):
        self.folder.path.joinpath("shots").mkdir(exist_ok=True)
        self.folder.write(f"shots/tasks-{digest}.jsonl", contents)


def predictions_of(
    part: str, names: Sequence[str], counts: Iterable[Sequence[int]], head: Head = "text"
) -> list[Prediction]:
    """Predictions of so many images of each class as each class, of the same images every time."""
    predictions = []
    for true, row in enumerate(counts):
        name = names[true]
        # What is right comes first, so that most images are right with every seed.
        taken = sorted(np.repeat(names[: len(row)], row).tolist(), key=partial(ne, name))
        for number, predicted in enumerate(taken):
            predictions.append(Prediction(head, part, f"{true}-{number}.png", name, predicted, 0.9))
    return predictions


def predictions_right(
    part: str, names: Sequence[str], images: Sequence[int], right: Sequence[int], head: Head
) -> list[Prediction]:
    """Predictions of so many images of each class, the wrong ones as the next class."""
    wrong = np.diag(np.subtract(images, right))
    return predictions_of(part, names, np.diag(right) + np.roll(wrong, 1, axis=1), head)


MakeStudy = Callable[[str], StudyWriter]
"""Makes a study of a name."""


def tasks_file(*tasks: Task, datasets: Mapping[str, Sequence[str]] = DIGITS_AND_LETTERS) -> bytes:
    """Return a file of the tasks of trials as a study writes it, for datasets with class names."""
    lines = [json.dumps({"dataset": name, "class_names": of}) for name, of in datasets.items()]
    for number, task in enumerate(tasks):
        lines += [json.dumps({"task": number, "digest": task.digest}), *task.lines()]
    return ("\n".join(lines) + "\n").encode()
