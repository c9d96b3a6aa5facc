"""What the studies of a reproduction need: a GPU, a checkpoint and datasets, looked for once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from study.data.datasets import load_dataset
from study.data.download import fetch_benchmark
from study.data.readers.benchmarks import BENCHMARKS, LAYOUTS
from study.errors import DataError, StudyError
from study.search.machine import refuse_too_many_gpus
from study.storage.atomic import sha256_of
from study.trial.study import Study

Facts = dict[str, str]


class Inputs:
    """The inputs of all studies."""

    def __init__(self, facts: dict[str, Facts]) -> None:
        self.facts = facts
        """What is known of each input that can be used, by its name."""
        self._faults: dict[tuple[str, bool], list[str]] = {}

    def find_faults(self, study: Study) -> list[str]:
        """Return what a study needs and cannot have.

        Datasets that are absent are fetched if the study has a GPU and a checkpoint.
        """
        config = study.config
        faults = []
        try:
            refuse_too_many_gpus(config.resources)
        except StudyError as error:
            faults.append(f"resources.gpus_per_trial: {error}")
        checkpoint = f"checkpoint {Path(config.backbone.name).name}"
        faults += self._faults_of(checkpoint, lambda: {"identity": study.architecture.checkpoint})
        fetch = not faults
        for name in (config.data.dataset, *config.data.targets):
            find = partial(_find_dataset, name, config.data.root or Path(), fetch=fetch)
            faults += self._faults_of(name, find, fetch)
        return faults

    def _faults_of(self, name: str, find: Callable[[], Facts], fetch: bool = False) -> list[str]:
        """Return the fault of an input, if it has one, and remember that or its facts."""
        key = (name, fetch)
        if key not in self._faults:
            self._faults[key] = []
            try:
                self.facts[name] = self.facts.get(name, {}) | find()
            except StudyError as error:
                self._faults[key].append(str(error))
        return self._faults[key]


def _find_dataset(name: str, root: Path, *, fetch: bool) -> Facts:
    """Return the numbers of images of a dataset, and the SHA-256 of its files.

    Raises:
        DataError: it is absent, and is not to be fetched or cannot be.
    """
    digests = {}
    try:
        dataset = load_dataset(name, root)
    except DataError as error:
        if name not in BENCHMARKS:
            raise
        if BENCHMARKS[name].downloads and not fetch:
            raise DataError(
                "datasets are fetched only where there are a GPU and the checkpoint"
            ) from error
        digests = fetch_benchmark(name, root)
        dataset = load_dataset(name, root)
    counts = (len(dataset.class_names), len(dataset.train), len(dataset.val), len(dataset.test))
    facts = {"classes, train, val, test": str(counts)}
    if name in BENCHMARKS:
        facts["published"] = str(tuple(BENCHMARKS[name].counts))
    if name in LAYOUTS:
        split = root / LAYOUTS[name].folder / LAYOUTS[name].split
        if split.exists():
            digests[split.name] = sha256_of(split.read_bytes())
    return facts | {f"SHA-256 of {file}": digest for file, digest in digests.items()}
