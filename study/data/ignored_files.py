"""Find what is in a folder of class folders and is not read, since the user may have meant it."""

import posixpath
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from study.data.images.sources import FolderSource
from study.data.readers.nested_images import hidden_folders
from study.data.readers.own import holds_images, is_folder, is_image_name, subfolders, visible
from study.errors import DataError

Paths = tuple[str, ...]
"""Paths relative to the folder of a dataset."""


@dataclass(frozen=True)
class Unread:
    """The content of a dataset's folder that is not read, by paths relative to that folder."""

    suffixes: Counter[str] = field(default_factory=Counter)
    """The number of files in class folders, and in folders of these, that are no images, by
    suffix."""
    deeper: Paths = ()
    """Images in folders of class folders."""
    loose: Paths = ()
    """Images beside class folders."""
    hidden: Paths = ()
    """Hidden folders beside class folders that have images."""
    beside: Paths = ()
    """Folders beside those of the splits that have images, or class folders with images."""


def find_unread(source: FolderSource) -> Unread:
    """Return the content of a dataset's folder that is not read.

    Args:
        source: the source; if it does not read class folders, nothing is searched.
    """
    if not source.class_folders:
        return Unread()
    suffixes, deeper = _in_class_folders(source)
    loose = []
    hidden = []
    parents = map(posixpath.dirname, source.class_folders)
    for path in dict.fromkeys(("", *parents)):
        folder = source.root / path
        with suppress(DataError):  # a folder that may not be listed
            entries = [entry for entry in visible(folder) if is_image_name(entry.name)]
            images = [entry.name for entry in entries if not is_folder(entry)]
            loose += [posixpath.join(path, name) for name in sorted(images)]
            hidden += [posixpath.join(path, name) for name in hidden_folders(folder)]
    others = _beside_splits(source.root, source.class_folders)
    return Unread(suffixes, tuple(deeper), tuple(loose), tuple(hidden), tuple(others))


def _in_class_folders(source: FolderSource) -> tuple[Counter[str], list[str]]:
    """Return other files than images by suffix, and images in folders of class folders.

    Class folders and the folders in them are listed, none deeper.
    """
    suffixes: Counter[str] = Counter()
    deeper = []
    unlisted = [(path, False) for path in reversed(source.class_folders)]
    while unlisted:
        path, is_deeper = unlisted.pop()
        with suppress(DataError):  # a folder that may not be listed
            for entry in visible(source.root / path):
                # By name first: to ask a network file system about each image takes long.
                if is_image_name(entry.name):
                    if is_deeper:
                        deeper.append(f"{path}/{entry.name}")
                elif not is_folder(entry):
                    suffixes[PurePath(entry.name).suffix.lower()] += 1
                elif not is_deeper:
                    unlisted.append((f"{path}/{entry.name}", True))
    return suffixes, deeper


def _beside_splits(root: Path, class_folders: Sequence[str]) -> list[str]:
    """Return the folders beside those of the splits that have images, or class folders with some.

    There are none where the class folders are in the root itself.
    """
    splits = {path.partition("/")[0] for path in class_folders if "/" in path}
    if not splits:
        return []
    others = []
    with suppress(DataError):
        for name in subfolders(root):
            if name in splits:
                continue
            folder = root / name
            folders = [folder]
            folders += [folder / inner for inner in subfolders(folder)]
            if any(map(holds_images, folders)):
                others.append(name)
    return others
