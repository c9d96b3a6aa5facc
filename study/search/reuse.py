"""Reuse of finished trials with the same configuration hash, from other studies of the storage."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from study.errors import StudyError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import RESULT_FILES, End, TrialFolder
from study.trial import TrialConfig

logger = logging.getLogger(__name__)


def reuse_results(folder: StudyFolder, trials: Sequence[TrialConfig]) -> set[str]:
    """Fill the folders of trials that another study has finished, and return their ids.

    A trial that cannot be read or copied is left to be trained.

    Args:
        folder: the folder of the study that needs the trials; other studies are beside it.
        trials: the trials, none of which has started.
    """
    hashes = {trial.config_hash for trial in trials if trial.config_hash}
    origins = finished_trials(folder.path.parent, hashes)
    reused_ids = set()
    for trial in trials:
        origin = origins.get(trial.config_hash)
        if not origin:
            continue
        address = f"{origin.path.parents[1].name}/{origin.trial_id}"
        try:
            _copy(origin, address, folder, trial)
        except (StudyError, OSError, ValueError) as error:
            logger.warning("%s equals %s, but is trained again: %s", trial.trial_id, address, error)
            continue
        logger.info("%s is taken from %s", trial.trial_id, address)
        reused_ids.add(trial.trial_id)
    return reused_ids


def finished_trials(storage: Path, hashes: set[str]) -> dict[str, TrialFolder]:
    """Return a finished and undamaged trial for each configuration hash that has one.

    Trials that were themselves taken from another study (``taken_from``) do not count.

    Args:
        storage: the folder of the studies' folders.
        hashes: the hashes to look for.
    """
    origins: dict[str, TrialFolder] = {}
    if not hashes:
        return origins
    for path in sorted(storage.glob("*/trials/*/config.json")):
        trial = TrialFolder(path.parent)
        with suppress(StudyError, OSError, ValueError):  # another study's files may be damaged
            config = TrialConfig.model_validate(trial.read_config())
            if config.config_hash not in hashes or config.taken_from is not None:
                continue
            if trial.has_finished() and not trial.damaged():
                origins.setdefault(config.config_hash, trial)
    return origins


def _copy(origin: TrialFolder, address: str, folder: StudyFolder, trial: TrialConfig) -> None:
    """Add a trial with all files of another and with its end, or nothing.

    A trial with only some of these files would be trained, yet still carry `taken_from`.
    """
    seconds = sum(report["seconds"] for report in origin.read_reports())
    with folder.add_trial(trial.trial_id) as copy:
        copy.create({**trial.model_dump(mode="json"), "taken_from": address})
        for pattern in RESULT_FILES:
            for path in sorted(origin.path.glob(pattern)):
                copy.write(path.name, path.read_bytes())
        reason = f"done before by {address}"
        copy.write_end(End(status="finished", epochs=trial.epochs, seconds=seconds, reason=reason))
