"""The regret of a whole choice: a fixed set of configurations, judged and tested on several draws.

Every configuration is trained on the folds of every draw of shots, as in a search, and then on all
its shots, as in a confirmation. A row is written as each is done, and no row is computed again.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from answer_tables import Draw
from selection import proposals

from study.analysis.formatting import settings_in_words
from study.config.schema import StudyConfig
from study.config.settings import Settings
from study.embedded import backbone_path
from study.errors import ConfigError
from study.method.backbone import Backbone, load_backbone
from study.search.stages import make_trial
from study.storage.atomic import write_atomically
from study.storage.ledger import StudyFolder
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.run import run_trial
from study.trial.study import Study


class Job(NamedTuple):
    """One configuration on one draw of shots."""

    config: StudyConfig
    """The configuration of the study, whose seed is that of the draw."""
    number: int
    settings: Settings

    @property
    def file(self) -> Path:
        """The file of its row."""
        return self.config.storage / f"draw{self.config.seed}-{self.number:03d}.json"

    @property
    def of(self) -> dict[str, Any]:
        """What its row depends on, which the row repeats."""
        kept = {"protocol", "data", "backbone", "training", "search", "confirm"}
        return {
            **self.config.model_dump(mode="json", include=kept),
            "settings": self.settings.model_dump(mode="json"),
        }

    def row(self) -> dict[str, Any] | None:
        """Return its row; None while it is not trained.

        Raises:
            ConfigError: the row is of another configuration.
        """
        if not self.file.exists():
            return None
        row: dict[str, Any] = json.loads(self.file.read_text())
        if row.get("of") != self.of:
            raise ConfigError(f"{self.file} is of another configuration; choose another --storage")
        return row


def measure_draws(
    config: StudyConfig, *, configurations: int, draws: Sequence[int], processes: int
) -> list[Draw]:
    """Train what has no row yet; return the scores of each draw by the configurations' names.

    Configurations with fewer tuned values come first, since they win where scores are equal.

    Args:
        config: the configuration of a study; `storage` is the folder of the rows.
        configurations: how many configurations to judge: the baselines, then random ones.
        draws: the seeds of the draws.
        processes: how many configurations to train at once.
    """
    config.storage.mkdir(parents=True, exist_ok=True)
    settings = proposals(config, configurations)
    jobs = [
        Job(config.model_copy(update={"seed": draw}), number, own)
        for draw in draws
        for number, own in enumerate(settings)
    ]
    missing = [job for job in jobs if job.row() is None]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, _ in enumerate(pool.imap_unordered(measure, missing), start=1):
            print(f"regret: {done}/{len(missing)}", end="\r", flush=True)
    found = []
    for draw in draws:
        own = (job.row() for job in jobs if job.config.seed == draw)
        rows = [row for row in own if row is not None]
        rows.sort(key=lambda row: row["trainable"])
        scores = ({row["name"]: row[by] for row in rows} for by in ("validation", "test"))
        found.append(Draw(*scores))
    return found


def measure(job: Job) -> None:
    """Train a configuration on the folds and on all shots of a draw; write its row."""
    torch.set_num_threads(1)
    study, folds, test = _data(job.config)
    backbone = _backbone(job.config.backbone.name)
    trial = make_trial(study, folds, "search", job.settings, "search", job.number, label="")
    *_, judged = run_trial(trial, folds, backbone)
    head = {n: judged.metrics[n] for n in ("head_lr", "head_steps") if n in judged.metrics}
    final = make_trial(
        study,
        test,
        "confirm",
        job.settings.model_copy(update=head),
        "confirm",
        job.number,
        label="",
    )
    *_, tested = run_trial(final, test, backbone)
    row = {
        "name": f"{job.number}: {settings_in_words(job.settings)}",
        "of": job.of,
        "trainable": trial.trainable,
        "validation": judged.metrics["val_score"],
        "test": tested.metrics["test_score"],
    }
    write_atomically(job.file, json.dumps(row))


_DATA: dict[int, tuple[Study, TrialData, TrialData]] = {}
"""The study and the data of each draw that this process has trained on, by its seed."""


def _data(config: StudyConfig) -> tuple[Study, TrialData, TrialData]:
    if config.seed not in _DATA:
        study = Study(config, StudyFolder(config.storage))
        preparer = Preparer(study, study.architecture().image_size)
        _DATA[config.seed] = study, preparer.search(), preparer.confirm(config.seed)
    return _DATA[config.seed]


@cache
def _backbone(name: str) -> Backbone:
    return load_backbone(backbone_path(name))
