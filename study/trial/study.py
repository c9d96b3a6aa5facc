"""A study as all its trials share it: configuration, folder, data, and what was chosen."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from study.config.schema import StudyConfig
from study.config.settings import Settings, WithSettings
from study.data.datasets import PACKAGED, load_dataset
from study.data.records import Dataset
from study.method.checkpoint import Architecture, backbone_path, read_architecture
from study.protocols import Protocol, named
from study.storage.ledger import CANDIDATES, CELLS, StudyFolder

T = TypeVar("T")
BEST = "best"
"""The label of the candidate that validation chose."""


class Candidate(WithSettings):
    """A configuration that the stage ``confirm`` tests."""

    label: str
    val_score: float | None = None
    """The validation score, a fraction; None if nothing was searched."""
    source_trial: str | None = None
    """The id of the search trial that it comes from; None if nothing was searched."""
    same_as: str | None = None
    """The label of an equal candidate that is trained instead of this one."""


@dataclass(frozen=True)
class Study:
    """What all parts of one run of a study share; each thing is read once, when it is first used.

    A choice is looked for until it is there, since it is made late in a run.
    """

    config: StudyConfig
    folder: StudyFolder
    given: Protocol | None = None
    """A protocol of the name in the configuration, if it is not found by that."""
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was read so far, by the name of what it is."""

    def protocol(self) -> Protocol:
        """Return the protocol that the configuration names.

        Raises:
            ConfigError: there is none of that name.
        """
        return self._once("protocol", lambda: named(self.config.protocol, self.given))

    def architecture(self) -> Architecture:
        """Return the sizes of the backbone and the identity of its weights.

        Raises:
            BackboneError: the checkpoint cannot be read.
        """
        backbone = self.config.backbone
        return self._once(
            "architecture",
            lambda: read_architecture(backbone_path(backbone.name), revision=backbone.revision),
        )

    def dataset(self) -> Dataset:
        """Return the dataset to train on: its classes and file lists, but no pixels.

        Raises:
            DataError: it cannot be read.
        """
        data = self.config.data
        # mypy accepts no dict of literal keys as a Mapping of str.
        renamed: dict[str, Any] = {"columns": data.columns, "splits": data.splits}
        return self._once(
            "dataset",
            lambda: load_dataset(
                data.dataset,
                data.root,
                templates=data.templates,
                pixel_range=None if data.dataset in PACKAGED and data.targets else data.pixel_range,
                **renamed,
                subset=data.subset,
                revision=data.revision,
            ),
        )

    def target(self, name: str) -> Dataset:
        """Return a further dataset to test on, with its own templates.

        Raises:
            DataError: it cannot be read.
        """
        pixel_range = None if name in PACKAGED else self.config.data.pixel_range
        return self._once(
            f"target {name}", lambda: load_dataset(name, self.targets_root, pixel_range=pixel_range)
        )

    @property
    def targets_root(self) -> Path | None:
        """The folder of the further datasets to test on."""
        return self.config.data.targets_root or self.config.data.root

    def candidates(self) -> tuple[Candidate, ...] | None:
        """Return the configurations to test; None while they are not chosen.

        Raises:
            LedgerError: their file is damaged.
        """
        return self._once(CANDIDATES, lambda: read_candidates(self.folder))

    def choose(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """Write the configurations to test, which stay as they are from now on; return them."""
        chosen = tuple(candidates)
        self.folder.write_json(CANDIDATES, [c.model_dump(mode="json") for c in chosen])
        return chosen

    def best(self) -> Candidate | None:
        """Return the candidate that validation chose; None while, or if, it chose none."""
        return best_of(self.candidates())

    def cells(self) -> Mapping[str, Settings] | None:
        """Return the settings of an ablation's cells by label; None while they are not fixed.

        Raises:
            LedgerError: their file is damaged.
        """
        return self._once(CELLS, lambda: _read_cells(self.folder))

    def fix_cells(self, cells: Mapping[str, Settings]) -> Mapping[str, Settings]:
        """Write the settings of an ablation's cells, which stay as they are; return them."""
        self.folder.write_json(CELLS, {k: own.model_dump(mode="json") for k, own in cells.items()})
        return cells

    def _once(self, what: str, read: Callable[[], T]) -> T:
        """Return what was read before, else read it; nothing (None) is not kept."""
        if what not in self._known and (found := read()) is not None:
            self._known[what] = found
        return self._known.get(what)  # type: ignore[return-value]


def read_candidates(folder: StudyFolder) -> tuple[Candidate, ...] | None:
    """Return the configurations that a study tests; None while they are not chosen.

    Raises:
        LedgerError: their file is damaged.
    """
    written = folder.read_json(CANDIDATES)
    return None if written is None else tuple(map(Candidate.model_validate, written))


def best_of(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that validation chose; None if there is none."""
    return next((c for c in candidates or () if c.label == BEST), None)


def _read_cells(folder: StudyFolder) -> dict[str, Settings] | None:
    if (written := folder.read_json(CELLS)) is None:
        return None
    return {label: Settings.model_validate(values) for label, values in written.items()}
