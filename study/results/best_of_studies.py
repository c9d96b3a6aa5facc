"""The best configurations of all studies in a folder, by validation."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from study.config.schema import StudyConfig
from study.errors import StudyError
from study.results.study_result import StudyResult, read_study_result
from study.results.trial_results import TrialResult
from study.storage.result_folder import JsonObject
from study.storage.study_folder import studies

logger = logging.getLogger(__name__)


class RankedTrial(NamedTuple):
    """A trial of a search that ran all its epochs; scores are fractions."""

    study: str
    config: StudyConfig
    trial: TrialResult
    val_score: float
    test_score: float | None
    """The mean over the test seeds; None if the configuration was not tested."""
    test_seeds: int
    """The number of test seeds with a test score."""

    def record(self) -> JsonObject:
        """Return its study, settings and scores; those of one split hash alone can be compared."""
        data, trial = self.config.data, self.trial
        return {
            "study": self.study,
            "label": trial.label,
            "dataset": data.dataset,
            "protocol": self.config.protocol,
            "backbone": self.config.backbone.name,
            "shots": data.shots,
            "trainable": trial.trainable,
            "val_score": self.val_score,
            "split_hash": trial.split_hash,
            "test_score": self.test_score,
            "test_seeds": self.test_seeds,
            **trial.settings.column_values(),
        }


def best_of_studies(storage: Path, top: int) -> list[RankedTrial]:
    """Return the trials with the best validation scores on each dataset, best first.

    A study that cannot be read is left out, with a warning.

    Args:
        storage: the folder of the studies.
        top: the largest number of trials of each dataset.
    """
    by_dataset = defaultdict[str, list[RankedTrial]](list)
    for folder in studies(storage):
        try:
            result = read_study_result(folder.path)
        except StudyError as error:
            logger.warning("study '%s' is skipped: %s", folder.name, error)
            continue
        by_dataset[result.config.data.dataset] += _finished(result)
    best = []
    for _, found in sorted(by_dataset.items()):
        # Equal scores are ordered as in `study.search.candidates.rank_finished_trials`.
        best += sorted(found, key=lambda one: (-one.val_score, one.trial.trainable))[:top]
    return best


def _finished(result: StudyResult) -> Iterator[RankedTrial]:
    """Yield a study's finished trials of the search."""
    tests = defaultdict(list)
    for trial in result.stage("test"):
        if trial.test_score is not None:
            tests[trial.settings].append(trial.test_score)
    for trial in result.stage("search"):
        if trial.status == "finished" and trial.val_score is not None:
            own = tests[trial.settings]
            mean = sum(own) / len(own) if own else None
            name, config = result.folder.name, result.config
            yield RankedTrial(name, config, trial, trial.val_score, mean, len(own))
