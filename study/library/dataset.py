"""Datasets of the objects that a notebook holds."""

import io
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from study.data import records
from study.data.datasets import is_own
from study.data.images.sources import FolderSource
from study.data.outputs import DATASETS
from study.data.prompts import templates_of
from study.data.readers.huggingface import HubSource, loaded_contents
from study.data.readers.tables import (
    LINKED,
    cell_text,
    find_columns,
    make_table,
    table_contents,
)
from study.data.records import Contents, listed
from study.data.splits import refuse_shared_groups
from study.errors import DataError
from study.storage.atomic import sha256_of
from study.storage.folders import new_folder

if TYPE_CHECKING:
    from pandas import DataFrame

OWN = "mine"
"""The name of a dataset that is given none."""
FRAME = "the data frame"
"""The name of a data frame in messages."""
TABLE = "table.parquet"
"""The file of a dataset of image files."""


class Dataset(records.Dataset):
    """The classes and labelled images of one dataset, made of an object of a notebook.

    `study.run_study` takes one. Its images are not decoded yet.
    """

    @classmethod
    def from_frame(
        cls, frame: "DataFrame", *, name: str = OWN, folder: str | Path = "."
    ) -> "Dataset":
        """Return the dataset of a data frame with a row for each image.

        Its columns are those of a table: ``path``, ``class_name`` or ``label`` or both, and if
        wanted ``split`` (train, val, test) and ``group``. A row without a group is a group of its
        own.

        Args:
            frame: the data frame.
            name: the name of the dataset in results.
            folder: the folder that relative paths start from. Absolute paths may lead anywhere.

        Raises:
            DataError: a column or a file is missing, or rows have faults; the message names them.
        """
        _refuse_taken(name)
        # The text of pandas' missing values would be a class or a group "nan".
        cells = frame.astype(object).where(frame.notna(), None)
        rows = list(cells.itertuples(index=False, name=None))
        table = make_table(FRAME, Path(folder), list(map(str, frame.columns)), rows)
        parts = find_columns(table, {})
        # Without symbolic links, which a source refuses to follow out of its folder.
        files = [cell and os.path.realpath(table.folder / str(cell)) for cell in parts["path"]]
        named = [str(file) for file in files if file]
        missing = [file for file in named if not Path(file).is_file()]
        if missing:
            raise DataError(
                f"{FRAME}: {len(missing)} of {len(named)} images are not there: {listed(missing)}"
            )
        if named:
            table = replace(table, folder=Path(os.path.commonpath([*map(os.path.dirname, named)])))
        parts["path"] = files
        if "group" in parts:
            pairs = zip(parts["group"], files, strict=True)
            parts["group"] = [group if cell_text(group) else file for group, file in pairs]
        return cls._of(name, table_contents(name, table, parts))

    @classmethod
    def from_huggingface(cls, dataset: object, *, name: str = OWN) -> "Dataset":
        """Return the dataset of one that the library ``datasets`` has loaded.

        Args:
            dataset: a ``Dataset``, or a ``DatasetDict`` of its splits, with a column of images and
                one of labels.
            name: the name of the dataset in results.

        Raises:
            DataError: it is something else, or has no such columns.
        """
        _refuse_taken(name)
        return cls._of(name, loaded_contents(name, dataset))

    @classmethod
    def _of(cls, name: str, contents: Contents) -> "Dataset":
        class_names, splits, source = contents
        refuse_shared_groups(splits, where=name)
        return cls(name, class_names, templates_of(name, None), *splits, source)

    def save(self, storage: Path) -> Path:
        """Write the dataset below a folder of studies, once, and return its ``data.root``.

        Image files are not copied: a link leads to them. Images of a Hugging Face dataset are.

        Raises:
            StorageError: it cannot be written.
        """
        source = self.source
        if isinstance(source, HubSource):
            stamps = "".join(source.stamp(f"{split}/") for split in source.tables)
            folder = _place(storage, stamps.encode())
            if not folder.exists():
                with new_folder(folder) as scratch:
                    source.save(scratch)
            return folder
        assert isinstance(source, FolderSource)
        table = self._table()
        folder = _place(storage, table + os.fsencode(source.root))
        if not folder.exists():
            with new_folder(folder) as scratch:
                scratch.mkdir()
                (scratch / LINKED).symlink_to(source.root, target_is_directory=True)
                (scratch / TABLE).write_bytes(table)
        return folder / TABLE

    def _table(self) -> bytes:
        """Return the images as Parquet, with paths below the link."""
        rows = []
        for split in records.SPLITS:
            images: Iterable[records.Record] = getattr(self, split)
            for image in images:
                row = {"path": f"{LINKED}/{image.path}", "label": image.label, "split": split}
                row["class_name"] = self.class_names[image.label]
                if image.group:
                    row["group"] = image.group
                rows.append(row)
        contents = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), contents)
        return contents.getvalue()


def _refuse_taken(name: str) -> None:
    """Raise if a name is that of a dataset that is read in another way.

    Raises:
        DataError: it is.
    """
    if not is_own(name):
        raise DataError(
            f"name is {name!r}, which is another dataset; allowed is a name of your own"
        )


def _place(storage: Path, identity: bytes) -> Path:
    return storage.expanduser().absolute() / DATASETS / sha256_of(identity)[:16]
