"""Find images near the folder that the user named, if its class folders have none.

Archives contain a folder around their files, and photographs often lie in folders by date.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from study.data.readers.own import holds_images, is_folder, subfolders, visible
from study.data.records import Contents, listed
from study.errors import DataError

DEPTH = 3
"""The number of levels below the named folder that are searched."""
ABOVE = 2
"""The number of folders above it that are tried."""
MAX_FOLDERS = 100
"""The number of folders after which the search ends."""
MAX_SECONDS = 5.0
"""The seconds after which all searches of a folder end."""


def advise_on_images(root: Path, read: Callable[[Path], Contents]) -> str:
    """Return advice that ends the message about a folder without images.

    Args:
        root: the folder that the user named.
        read: the function that reads a folder of class folders, and raises if it cannot.

    Returns:
        Which folder can be read instead, or which images lie too deep; empty if neither is known.
    """
    deadline = time.monotonic() + MAX_SECONDS
    classes = subfolders(root)
    empty = [name for name in classes if not _holds_images(root / name)]
    readable = []
    if len(empty) == len(classes):
        readable = _readable_folders(root, read, deadline)
    advice = ""
    if readable:
        advice = f"; {' or '.join(readable)} would work"
        if len(readable) > 1:
            advice += f", and so would images that stand in the folders of {root} themselves"
    else:
        for name in empty:
            deep = next(filter(_holds_images, _folders_below(root / name, deadline)), None)
            if deep is not None:
                inner = deep.relative_to(root).as_posix()
                advice += (
                    f"; the images in {inner!r} are too deep: move them up into {name!r}, or move "
                    f"{name!r} out of {root}"
                )
    hidden = hidden_folders(root)
    if hidden:
        advice += f"; hidden folders are not read, such as {listed(hidden)}"
    return advice


def _readable_folders(root: Path, read: Callable[[Path], Contents], deadline: float) -> list[str]:
    """Return the settings that would read folders near the root, with the classes of each."""
    candidates: list[Path] = []
    if _holds_images(root):
        candidates += reversed((root.parents or root.absolute().parents)[:ABOVE])
    readable: list[Path] = []
    settings = []
    for folder in chain(candidates, _folders_below(root, deadline)):
        if any(folder.is_relative_to(outer) for outer in readable):
            continue
        try:
            contents = read(folder)
        except (DataError, OSError):
            continue
        class_names = contents[0]
        if len(class_names) > 1:
            readable.append(folder)
            settings.append(f"data.root={folder} (classes {listed(class_names)})")
    return settings


def hidden_folders(root: Path) -> list[str]:
    """Return the names of the folders with images whose names begin with a dot.

    Raises:
        DataError: the folder may not be listed.
    """
    names = [entry.name for entry in visible(root, hidden=True) if is_folder(entry)]
    return sorted(name for name in names if _holds_images(root / name))


def _holds_images(folder: Path) -> bool:
    try:
        return holds_images(folder)
    except DataError:  # the folder may not be listed
        return False


def _folders_below(root: Path, deadline: float) -> Iterator[Path]:
    """Yield the folders below a folder level by level, until a time of the monotonic clock.

    Links are not followed, since a link to a folder above would never end.
    """
    waiting = deque([(root, 0)])
    seen = 0
    while waiting and seen < MAX_FOLDERS and time.monotonic() < deadline:
        folder, level = waiting.popleft()
        if level:
            seen += 1
            yield folder
        if level == DEPTH:
            continue
        try:
            inner = [folder / name for name in subfolders(folder)]
        except DataError:  # the folder may not be listed
            continue
        waiting.extend((path, level + 1) for path in inner if not path.is_symlink())
