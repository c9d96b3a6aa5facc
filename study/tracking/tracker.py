"""The interface of a tracker: what keeps the results of studies beside their own folders.

A call to a tracker may fail; `first_line` says why in few words.
"""
# ruff: noqa: B027  -- a tracker may leave out what it has nothing to do for

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.errors import TrackingError, redacted_text
from study.storage.time_limit import first_cause
from study.storage.trial_folder import End
from study.trial import TrialConfig
from study.trial.study import Study

if TYPE_CHECKING:
    from study.serving.saved_model import (
        SavedModel,  # imports torch, which most commands do without
    )

LONGEST = 200
"""The most characters of a line that tells a cause."""


class UnsupportedError(TrackingError):
    """What a tracker is asked for and never does, so that another one may be asked."""


class SyncResult(NamedTuple):
    """The result of `Tracker.sync`."""

    trials: int
    """The number of trials, all of which the tracker now has."""
    resent: int
    """How many of them had been sent before, but were missing or incomplete in the tracker."""


@dataclass(frozen=True)
class RankedConfiguration:
    """A configuration that was trained for all its epochs; scores are fractions."""

    study: str
    label: str
    dataset: str
    protocol: str
    backbone: str
    shots: int
    settings: TrialSettings
    """The settings as the tracker shows them, perhaps rounded; see
    `Tracker.restore_exact_settings`."""
    trainable: int
    val_score: float
    split_hash: str
    """The hash of the split; only scores with the same hash can be compared."""
    test_score: float | None
    """The mean over the confirmation seeds; None if the configuration was not confirmed."""
    test_seeds: int
    """The number of confirmation seeds with a test score."""
    run_id: str
    parent_id: str
    """The id of the study's own run."""
    folder: str | None = None
    """The study's folder; None if it is not on this machine, or is gone."""


class Tracker(ABC):
    """A tracker of one study at a time; `start`, `trial_ended` and `close` are all it needs.

    It is made without arguments. Every result is in the study's folder before a tracker hears of
    it, so a tracker may read there what a call leaves out. No trial waits for a tracker: what takes
    time belongs in a thread of its own. Only `check`, `start` and `sync` may raise; what fails in
    another method is logged, or returned by `close`.
    """

    name: str
    """The name by which a configuration names the tracker."""
    title = "the tracker"
    """What messages call it."""
    packages: Sequence[str] = ()
    """The installed packages whose versions a study records because of the tracker."""

    def check(self, config: StudyConfig) -> None:
        """Check, before a study starts, that its results can be kept; make nothing.

        Raises:
            StudyError: they cannot; the message says why.
        """

    @abstractmethod
    def start(self, study: Study) -> None:
        """Begin or resume a study, whose folder may hold trials that were never sent.

        It is called in another thread than the other methods, which are called once it has ended.

        Raises:
            StudyError: the results cannot be kept.
        """

    def trial_started(self, config: TrialConfig) -> None:
        """See `study.search.ledger_callback.Observer`."""

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `study.search.ledger_callback.Observer`."""

    @abstractmethod
    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `study.search.ledger_callback.Observer`."""

    def rescan_trials(self) -> None:
        """Look at all trials again: ended ones may change too, for example their names."""

    def register(self) -> None:
        """Put the winner of a study into a registry of models, if there is one."""

    def download_model(self, address: str, folder: Path) -> "SavedModel":
        """Return a registered model, after copying its delta into a folder, which is empty.

        No code that came with the model is run. Neither a study nor `start` is needed.

        Args:
            address: the model's address, such as ``models:/NAME/VERSION``.
            folder: where to copy it.

        Raises:
            StudyError: there is no such model, or it is none of a study's.
        """
        raise UnsupportedError(f"the tracker '{self.name}' keeps no models; got {address}")

    @abstractmethod
    def close(self, *, finished: bool) -> Mapping[str, str]:
        """Keep the rest of the results, and end.

        Args:
            finished: whether the study ran to its end; otherwise it may be resumed.

        Returns:
            What could not be kept, such as a trial's id, and why.
        """

    def sync(self, study: Study, write_outputs: Callable[[], object]) -> SyncResult:
        """Keep everything of a study that is not kept yet, and wait for it; called on its own.

        Args:
            study: the study.
            write_outputs: writes the tables and the report again; they name the registered winner.

        Raises:
            StudyError: the results cannot be kept; the message names the trials.
        """
        raise UnsupportedError(
            f"the tracker '{self.name}' takes results while a study runs, and none afterwards"
        )

    def describe_contents(self, study: Study) -> str:
        """Return what the tracker has of a study, in words; it is called on its own.

        Raises:
            StudyError: the tracker does not tell.
        """
        raise UnsupportedError(f"the tracker '{self.name}' does not delete what it has of studies")

    def delete(self, study: Study) -> Sequence[str]:
        """Delete what the tracker has of a study; it is called after `describe_contents`.

        Returns:
            Lines on what else has changed by it.

        Raises:
            StudyError: some of it could not be deleted; the study may be tried again.
        """
        raise UnsupportedError(f"the tracker '{self.name}' does not delete what it has of studies")

    def best_configurations(
        self, *, study: str | None, where: str | None, top: int, storage: Path
    ) -> Sequence[RankedConfiguration]:
        """Return the configurations with the best validation scores of all studies, the best first.

        Neither a study nor `start` is needed. The same holds for `restore_exact_settings` and
        `configuration_of`.

        Args:
            study: the name of the one study to search; None means all studies.
            where: a further condition, in the tracker's own syntax.
            top: how many configurations to return at most.
            storage: a folder where studies are looked for, besides the one that each was run in.

        Raises:
            StudyError: the tracker does not answer, or does not understand the condition.
        """
        raise UnsupportedError(f"the tracker '{self.name}' does not compare studies")

    def restore_exact_settings(self, found: RankedConfiguration) -> RankedConfiguration:
        """Return a configuration that was found with the settings that its trial had.

        Raises:
            StudyError: the tracker does not have them.
        """
        raise UnsupportedError(f"the tracker '{self.name}' does not compare studies")

    def configuration_of(self, found: RankedConfiguration) -> StudyConfig:
        """Return the configuration of the study in which a configuration was found.

        Raises:
            StudyError: the tracker does not have it.
        """
        raise UnsupportedError(f"the tracker '{self.name}' does not compare studies")

    def advice(self) -> str:
        """Return where copies of a study's files may be, in a sentence; empty if nowhere."""
        return ""

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        """Return what the end of a study prints about the tracker: a short word and a line each."""
        return ()


def describe_unsent(unsent: Mapping[str, str], most: int = 3) -> str:
    """Return a text with the number of unsent runs, and a line a reason.

    Args:
        unsent: the reason of each run, by its trial's id.
        most: how many runs of one reason are named; the others are counted.
    """
    runs: dict[str, list[str]] = {}
    for trial_id, reason in unsent.items():
        runs.setdefault(reason, []).append(trial_id)
    lines = [
        f"{', '.join(named[:most])}"
        f"{f' and {len(named) - most} more' if len(named) > most else ''}: {reason}"
        for reason, named in runs.items()
    ]
    return "\n  ".join([f"{len(unsent)} run{'s' if len(unsent) > 1 else ''}:", *lines])


def first_line(error: Exception) -> str:
    """Return an error as one short line without passwords; database errors can fill a screen.

    Where the network failed, it says how, and not which of many calls found out.
    """
    cause = first_cause(error)
    lost = isinstance(cause, ConnectionError | TimeoutError | socket.gaierror)
    text = redacted_text(str(cause if lost else error).strip() or repr(error))
    return f"{type(error).__name__}: {shorten(text.splitlines()[0], LONGEST, placeholder=' …')}"
