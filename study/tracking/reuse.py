"""Reuse of finished trials with the same configuration hash, from ledgers or from a tracker."""

import logging
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from study.errors import StudyError, TrackingError
from study.method.delta import load_delta
from study.storage.ledger import KEPT, End, StudyFolder, TrialFolder
from study.tracking.tracker import Tracker, first_line, within
from study.trial import TrialConfig

logger = logging.getLogger(__name__)

TAKES_WITHIN = 300.0
"""How many seconds reuse may take; trials not fetched by then are trained."""


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of all studies in a folder; the address of a trial is ``STUDY/TRIAL``.

    Args:
        storage: the folder of the studies' folders.
    """

    storage: Path
    title = "the ledger"

    def known(self, wanted: Sequence[TrialConfig]) -> Mapping[str, str]:
        """Return where finished and undamaged trials are; see `Tracker.known`."""
        hashes = {trial.config_hash for trial in wanted}
        found: dict[str, str] = {}
        for path in sorted(self.storage.glob("*/trials/*/config.json")):
            trial = TrialFolder(path.parent)
            with suppress(StudyError, OSError, ValueError):  # another study's files may be damaged
                config = TrialConfig.model_validate(trial.read_config())
                if (
                    config.config_hash in hashes
                    and config.taken_from is None
                    and (end := trial.read_end())
                    and end.status == "finished"
                    and not trial.damaged()
                ):
                    found.setdefault(config.config_hash, f"{path.parents[2].name}/{trial.trial_id}")
        return found

    def fetch(self, address: str, folder: Path) -> None:
        """See `Tracker.fetch`."""
        study, trial = address.split("/")
        origin = StudyFolder(self.storage / study).trial(trial)
        shutil.copytree(origin.path, folder, dirs_exist_ok=True)


def take_over(tracker: Tracker, folder: StudyFolder, wanted: Sequence[TrialConfig]) -> set[str]:
    """Fill the folders of trials that were already done elsewhere; return their ids.

    They are looked for in the ledgers beside the study's own, and only then in the tracker. Trials
    that cannot be found, fetched or trusted are left to be trained.

    Args:
        tracker: the study's tracker, after `Tracker.start`.
        folder: the folder of the study that wants the trials.
        wanted: the trials, none of which has started.
    """
    deadline = time.monotonic() + TAKES_WITHIN
    taken: set[str] = set()
    for source in (Ledgers(folder.path.parent), tracker):
        left = [t for t in wanted if t.config_hash and t.trial_id not in taken]
        try:
            seconds = max(0.0, deadline - time.monotonic())
            known = within(seconds, partial(source.known, left)) if left else {}
        except Exception as error:  # from a tracker, its server or the network
            logger.warning(
                "%s was not asked for trials done before: %s", source.title, first_line(error)
            )
            continue
        for trial in (trial for trial in left if trial.config_hash in known):
            if (seconds := deadline - time.monotonic()) <= 0:
                logger.warning(
                    "%s gives trials done before too slowly; the rest is trained", source.title
                )
                break
            address = known[trial.config_hash]
            try:
                _fetch(source, address, folder, trial, seconds)
            except Exception as error:  # from a tracker, its server or the files it returned
                logger.warning(
                    "%s equals %s of %s, but is trained again unless it is found elsewhere: %s",
                    *(trial.trial_id, address, source.title, first_line(error)),
                )
            else:
                logger.info("%s is taken from %s of %s", trial.trial_id, address, source.title)
                taken.add(trial.trial_id)
    return taken


def _fetch(
    source: Ledgers | Tracker, address: str, folder: StudyFolder, trial: TrialConfig, seconds: float
) -> None:
    """Add a trial with the files of another, all or none, and with its end.

    Raises:
        StudyError: it is not the trial that its hash promises, or the copying is too slow.
    """
    with tempfile.TemporaryDirectory() as scratch:
        origin = TrialFolder(Path(scratch))
        within(seconds, lambda: source.fetch(address, origin.path))
        reports = _proven_reports(origin, trial)
        # A trial with only some of these files would be trained, yet still carry `taken_from`.
        with folder.adding(trial.trial_id) as taken:
            taken.create({**trial.model_dump(mode="json"), "taken_from": address})
            for path in (path for pattern in KEPT for path in sorted(origin.path.glob(pattern))):
                taken.write(path.name, path.read_bytes())
            taken.write_end(
                End(
                    status="finished",
                    epochs=trial.epochs,
                    seconds=sum(report["seconds"] for report in reports),
                    reason=f"done before by {address} of {source.title}",
                )
            )


def _proven_reports(origin: TrialFolder, trial: TrialConfig) -> list[dict[str, Any]]:
    """Return a fetched trial's reports if it is whole and the wanted one.

    Raises:
        StudyError: it is not.
    """
    if damaged := origin.damaged():
        raise TrackingError(f"{', '.join(damaged)} damaged")
    if origin.read_config().get("config_hash") != trial.config_hash:
        raise TrackingError("its config.json has another hash than was found")
    reports = origin.read_reports()
    epochs = [report.get("epoch") for report in reports]
    if epochs != (list(range(1, trial.epochs + 1)) or [0]):
        raise TrackingError(f"its reports are of the epochs {str(epochs)[:80]}")
    fields = [value for report in reports for value in report.values()]
    # The scores of folds are a list.
    values = [v for field in fields for v in (field if isinstance(field, list) else [field])]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise TrackingError("its reports hold something else than finite numbers")
    if not {"val_score", "test_score"} & reports[-1].keys():
        raise TrackingError("its last report has no score")
    deltas = [load_delta(path) for path in origin.path.glob("delta*.safetensors")]
    if bool(deltas) != bool(trial.trainable and trial.settings.writes_delta):
        raise TrackingError(f"it has {len(deltas)} deltas")
    return reports
