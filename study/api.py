"""What a notebook uses: datasets, studies and tuned models; `api.md` has an example."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from study.commands.console import output_console
from study.commands.execution import run_study as run_study_to_the_end
from study.commands.export import export
from study.commands.extend import extend_and_run
from study.commands.find import find_config, find_model, find_study
from study.commands.new_study import make_study
from study.config.loading import load_config
from study.config.sweep import is_sweep
from study.config.yaml_text import yaml_on_one_line
from study.data import records
from study.data.datasets import is_own_dataset, load_dataset
from study.data.file_checks import refuse_absent
from study.data.images.sources import FolderSource, HubSource
from study.data.output_folders import DATASETS
from study.data.prompts import templates_of
from study.data.readers.huggingface import loaded_contents
from study.data.readers.tables import rows_contents, table_rows
from study.data.splits import refuse_shared_groups
from study.errors import ConfigError, DataError
from study.report.leaderboard_tables import leaderboard_records
from study.results.study_result import StudyResult, read_study_result
from study.serving.classifier import TunedClassifier
from study.storage.atomic import sha256_of
from study.storage.new_folders import new_folder
from study.storage.study_folder import StudyFolder

OWN = "mine"
"""The default name of a dataset."""
FRAME = "the data frame"
"""The name of a data frame in messages."""
TABLE = "table.parquet"
"""The file of a dataset of image files."""


@dataclass(frozen=True)
class Dataset(records.Dataset):
    """The classes and labelled images of a dataset for `run_study`; no image is decoded yet."""

    folder: Path | None = None
    """The folder or table that it was read from; None if it was made from an object."""

    def __post_init__(self) -> None:
        if not is_own_dataset(self.name):
            raise DataError(
                f"name is {self.name!r}, which is a known dataset; expected another name"
            )

    @classmethod
    def from_folder(cls, folder: str | Path, *, name: str = OWN) -> "Dataset":
        """Return the dataset of a folder of images, or of a table that lists them.

        Args:
            folder: a folder with a folder of images for each class, a table, or another form of
                ``data.root``.
            name: the name of the dataset in results.

        Raises:
            DataError: the folder is no dataset, or has faults; the message names them.
        """
        place = Path(folder).expanduser().absolute()
        return cls(**vars(load_dataset(name, place)), folder=place)

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, *, name: str = OWN, folder: str | Path = "."
    ) -> "Dataset":
        """Return the dataset of a data frame with a row for each image.

        Its columns are those of a table: ``path``, ``class_name`` or ``label`` or both, and
        optionally ``split`` (train, val, test) and ``group``. A row without a group forms its own.

        Args:
            frame: the data frame.
            name: the name of the dataset in results.
            folder: the folder that relative paths start from. Absolute paths may lead anywhere.

        Raises:
            DataError: a column or a file is missing, or rows have faults; the message names them.
        """
        rows = table_rows(frame, {}, where=FRAME)
        files = [text and os.path.abspath(Path(folder, text)) for text in rows.path]  # noqa: PTH100
        named = list(filter(None, files))
        rows = rows.assign(path=files)
        if "group" in rows:
            rows["group"] = rows.group.where(rows.group != "", rows.path)
        root = Path(os.path.commonpath([*map(os.path.dirname, named)])) if named else Path(folder)
        class_names, splits = rows_contents(name, rows, root, where=FRAME)
        return cls._of(name, (class_names, splits, FolderSource(root)))

    @classmethod
    def from_huggingface(cls, dataset: object, *, name: str = OWN) -> "Dataset":
        """Return the dataset of an object that the library ``datasets`` has loaded.

        Args:
            dataset: a ``Dataset``, or a ``DatasetDict`` of its splits, with a column of images and
                one of labels.
            name: the name of the dataset in results.

        Raises:
            DataError: the object is something else, or has no such columns.
        """
        return cls._of(name, loaded_contents(name, dataset))

    @classmethod
    def _of(cls, name: str, contents: records.Contents) -> "Dataset":
        class_names, splits, source = contents
        refuse_shared_groups(splits, where=name)
        dataset = cls(name, class_names, templates_of(name, None), *splits, source)
        refuse_absent(dataset, "skip")  # a study refuses what it cannot skip
        return dataset

    def save(self, storage: Path) -> Path:
        """Return the ``data.root`` of the dataset; write a dataset without a folder once.

        Image files are linked, not copied; images of a Hugging Face dataset are copied.

        Args:
            storage: the folder of studies, in which it is written.

        Raises:
            StorageError: it cannot be written.
        """
        if self.folder is not None:
            return self.folder
        source = self.source
        identity = repr(self)
        if isinstance(source, HubSource):
            identity = "".join(source.stamp(f"{split}/") for split in source.tables)
        place = storage.expanduser().absolute() / DATASETS / sha256_of(identity.encode())[:16]
        if not place.exists():
            with new_folder(place) as scratch:
                if isinstance(source, HubSource):
                    source.save(scratch)
                elif isinstance(source, FolderSource):
                    scratch.mkdir()
                    (scratch / "images").symlink_to(source.root, target_is_directory=True)
                    rows = [
                        {
                            "path": f"images/{one.path}",
                            "label": one.label,
                            "class_name": self.class_names[one.label],
                            "split": split,
                            "group": one.group or None,
                        }
                        for split in records.SPLITS
                        for one in getattr(self, split)
                    ]
                    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
                    table.to_parquet(scratch / TABLE)
        return place if isinstance(source, HubSource) else place / TABLE


class OpenedStudy:
    """A study, see `open_study`; each access reads its folder again."""

    def __init__(self, folder: StudyFolder) -> None:
        self.name = folder.name
        """The name of the study."""
        self.path = folder.path
        """The folder of the study."""
        self._model: TunedClassifier | None = None

    def __repr__(self) -> str:
        return f"<OpenedStudy {self.name!r} in {self.path.parent}>"

    @property
    def result(self) -> StudyResult:
        """The result of the study at the time of reading.

        Raises:
            StudyError: a file of the study is damaged.
        """
        return read_study_result(self.path)

    def leaderboard(self) -> pd.DataFrame:
        """Return the tested configurations, best first; scores are fractions.

        The columns are those of ``leaderboard.csv`` or, for an ablation, ``ablation.csv``.

        Raises:
            StudyError: a file of the study is damaged.
        """
        return pd.DataFrame(leaderboard_records(self.result))

    def predict(self, images: Any) -> pd.DataFrame:
        """Classify images with the final model of the study; see `TunedClassifier.predict`.

        Raises:
            StudyError: the study has no final model, or an image cannot be read.
        """
        if self._model is None:
            self._model = load_model(self.path)
        return self._model.predict(images)

    def extend(self, overrides: Mapping[str, object]) -> None:
        """Continue the study with more trials or another final model, like the command.

        Args:
            overrides: what changes, such as ``{"search.trials": 90}``, the total number.

        Raises:
            StudyError: a value is not allowed, or the study was interrupted.
        """
        self._model = None
        extend_and_run(StudyFolder(self.path), _written(overrides), output_console())

    def export(self, format: str, out: str | Path) -> None:
        """Write the final model of the study for another library, with a model card.

        Args:
            format: ``hf``, ``peft``, ``openclip`` or ``onnx``.
            out: a new or empty folder.

        Raises:
            StudyError: the format or the folder cannot be used, or there is no final model.
        """
        print(*export(str(self.path), format, Path(out)), sep="\n")


def run_study(
    configuration: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    dataset: Dataset | None = None,
    storage: str | Path | None = None,
    in_process: bool = False,
) -> OpenedStudy:
    """Run a new study to its end.

    Args:
        configuration: the name of a built-in configuration, or the path of a file.
        overrides: values that replace those of the configuration, by dotted key, such as
            ``{"search.trials": 12}``.
        dataset: the images to study; None means those that the configuration names.
        storage: see `open_study`.
        in_process: whether trials run one after the other in this process, without Ray, for
            debugging.

    Raises:
        StudyError: the user can fix the fault, or the study was interrupted; then, the message
            contains the command that resumes it.
    """
    source = find_config(str(configuration))
    given = _written({} if overrides is None else overrides)
    if storage is not None:
        given += _written({"storage": storage})
    if is_sweep(source):
        raise ConfigError(f"{source} is a sweep; run it with the command clipfit-study")
    if dataset is not None:
        if not isinstance(dataset, Dataset):
            raise ConfigError(
                f"dataset is a {type(dataset).__name__}; expected a study.Dataset, as "
                "from_folder, from_frame and from_huggingface return"
            )
        root = dataset.save(load_config(source, given).storage)
        given += _written({"data.dataset": dataset.name, "data.root": root})
    made = make_study(source, given)
    run_study_to_the_end(made, output_console(), resume=False, in_process=in_process)
    return OpenedStudy(made.folder)


def open_study(name: str | Path, *, storage: str | Path | None = None) -> OpenedStudy:
    """Open a finished or unfinished study.

    Args:
        name: the name of the study, or the path to its folder.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, else ``runs``.

    Raises:
        ConfigError: there is no such study; the message lists those in the storage.
    """
    return OpenedStudy(find_study(str(name), storage))


def load_model(
    model: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    device: str = "auto",
    storage: str | Path | None = None,
) -> TunedClassifier:
    """Load a tuned model.

    Args:
        model: the address of a registered model (``models:/NAME/VERSION``, ``models:/NAME@ALIAS``),
            a file of tuned parameters (``delta.safetensors``), or a study by name or folder.
        class_names: the classes to predict; None means the model's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        storage: see `open_study`.

    Raises:
        StudyError: there is no such model, or it cannot be used.
    """
    with find_model(str(model), storage) as saved:
        return saved.load_classifier(class_names=class_names, device=device)


def _written(overrides: Mapping[str, object]) -> list[str]:
    """Return overrides in the form of a command line, so that messages are the same.

    Raises:
        ConfigError: they are no mapping.
    """
    if not isinstance(overrides, Mapping):
        raise ConfigError(
            f"overrides is {overrides!r:.200}; expected a dictionary, such as "
            '{"search.trials": 12}'
        )
    return [f"{key}={yaml_on_one_line(value)}" for key, value in overrides.items()]
