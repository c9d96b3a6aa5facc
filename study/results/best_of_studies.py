"""The best configurations of all studies in a folder, by validation."""

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from study.config.trial_settings import TrialSettings
from study.data.shots import ShotCount
from study.errors import StudyError
from study.results.study_result import StudyResult, read_study_result
from study.storage.study_folder import studies

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankedConfiguration:
    """A configuration that was trained for all its epochs, with its scores as fractions."""

    study: str
    label: str
    dataset: str
    protocol: str
    backbone: str
    shots: ShotCount
    settings: TrialSettings
    trainable: int
    val_score: float
    split_hash: str
    """The hash of the split; only scores with the same hash can be compared."""
    test_score: float | None
    """The mean over the test seeds; None if the configuration was not tested."""
    test_seeds: int
    """The number of test seeds with a test score."""


def best_of_studies(storage: Path, top: int) -> list[RankedConfiguration]:
    """Return the configurations with the best validation scores on each dataset, best first.

    Only trials of the search that ran all their epochs count. A study that cannot be read is left
    out, with a warning.

    Args:
        storage: the folder of the studies.
        top: the largest number of configurations of each dataset.
    """
    by_dataset = defaultdict[str, list[RankedConfiguration]](list)
    for folder in studies(storage):
        try:
            result = read_study_result(folder.path)
        except StudyError as error:
            logger.warning("study '%s' is left out: %s", folder.name, error)
            continue
        by_dataset[result.config.data.dataset] += _finished(result)
    best = []
    for dataset in sorted(by_dataset):
        # Equal scores are ordered as in `study.search.choice.rank_finished_trials`.
        found = sorted(by_dataset[dataset], key=lambda one: (-one.val_score, one.trainable))
        best += found[:top]
    return best


def _finished(result: StudyResult) -> list[RankedConfiguration]:
    """Return the configurations of a study's finished trials of the search."""
    config = result.config
    test_scores = defaultdict(list)
    for trial in result.stage("test"):
        if trial.test_score is not None:
            test_scores[trial.settings].append(trial.test_score)
    found = []
    for trial in result.stage("search"):
        if trial.status == "finished" and trial.val_score is not None:
            scores = test_scores[trial.settings]
            found.append(
                RankedConfiguration(
                    study=result.folder.name,
                    label=trial.label,
                    dataset=config.data.dataset,
                    protocol=config.protocol,
                    backbone=config.backbone.name,
                    shots=config.data.shots,
                    settings=trial.settings,
                    trainable=trial.trainable,
                    val_score=trial.val_score,
                    split_hash=trial.split_hash,
                    test_score=sum(scores) / len(scores) if scores else None,
                    test_seeds=len(scores),
                )
            )
    return found
