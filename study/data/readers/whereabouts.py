"""Find the images of a dataset if the class folders of the folder that the user named have none.

Archives contain a folder around their files, and photographs often lie in folders by date.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from study.data.readers.own import holds_images, is_folder, subfolders, visible
from study.data.records import Contents, listed
from study.errors import DataError

DEPTH = 3
"""How many levels below the named folder are looked at."""
ABOVE = 2
"""How many levels above it are looked at."""
MOST = 100
"""The most folders that are looked at."""
WITHIN = 5.0
"""The seconds after which no further folder is looked at."""


def whereabouts(root: Path, read: Callable[[Path], Contents]) -> str:
    """Return the rest of a message that there are no images, which says what to do.

    Args:
        root: the folder that the user named.
        read: the function that reads a folder of class folders, and raises if it cannot.

    Returns:
        The folder that can be read instead, or the images that are too deep, or an empty text.
    """
    classes = subfolders(root)
    empty = [name for name in classes if not _holds_images(root / name)]
    readable = []
    if len(empty) == len(classes):
        readable = _readable_folders(root, read)
    advice = ""
    if readable:
        advice = f"; {' or '.join(readable)} would work"
        if len(readable) > 1:
            advice += f", and so would images that stand in the folders of {root} themselves"
    else:
        for name in empty:
            advice += _too_deep(root, name)
    hidden = hidden_folders(root)
    if hidden:
        advice += f"; hidden folders are not read, such as {listed(hidden)}"
    return advice


def _readable_folders(root: Path, read: Callable[[Path], Contents]) -> list[str]:
    """Return the settings of folders near the root that can be read, with their classes."""
    places: list[Path] = []
    if _holds_images(root):
        parents = root.parents or root.absolute().parents
        places += reversed(parents[:ABOVE])
    readable: list[Path] = []
    settings = []
    places += _below(root)
    for place in places:
        if any(place.is_relative_to(outer) for outer in readable):
            continue
        try:
            contents = read(place)
        except (DataError, OSError):
            continue
        class_names = contents[0]
        if len(class_names) > 1:
            readable.append(place)
            settings.append(f"data.root={place} (classes {listed(class_names)})")
    return settings


def hidden_folders(root: Path) -> list[str]:
    """Return the names of folders that have images, and that are hidden by a dot.

    Raises:
        DataError: the folder may not be listed.
    """
    names = [entry.name for entry in visible(root, hidden=True) if is_folder(entry)]
    return sorted(name for name in names if _holds_images(root / name))


def _holds_images(folder: Path) -> bool:
    try:
        return holds_images(folder)
    except DataError:  # it may not be listed
        return False


def _below(root: Path) -> Iterator[Path]:
    """Yield the folders below a folder, those of a level before the next; links are not followed.

    A link may lead up, and so into a circle.
    """
    waiting = deque([(root, 0)])
    ends = time.monotonic() + WITHIN
    seen = 0
    while waiting and seen < MOST and time.monotonic() < ends:
        folder, level = waiting.popleft()
        if level:
            seen += 1
            yield folder
        if level == DEPTH:
            continue
        try:
            inner = [folder / name for name in subfolders(folder)]
        except DataError:  # it may not be listed
            continue
        waiting.extend((place, level + 1) for place in inner if not place.is_symlink())


def _too_deep(root: Path, name: str) -> str:
    """Return what to do about the images in folders of a class folder; "" if there are none."""
    for place in _below(root / name):
        if _holds_images(place):
            inner = place.relative_to(root).as_posix()
            return (
                f"; the images in {inner!r} are too deep: move them up into {name!r}, or move "
                f"{name!r} out of {root}"
            )
    return ""
