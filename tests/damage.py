"""What happens to files: one bit flips, the end is lost, nothing but zeros or other weights."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def flip(path: Path, what: bytes | None = None):
    """Change one bit in the middle of a file, or of what is in it, so that text stays text."""
    contents = bytearray(path.read_bytes())
    place = len(contents) // 2 if what is None else contents.index(what) + len(what) // 2
    contents[place] ^= 1
    path.write_bytes(contents)


def cut(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path):
    path.write_bytes(b"\0" * path.stat().st_size)


def fill_disk(folder: Path):
    """Leave no byte free: a file in a folder grows until it may not."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        for size in (2**20, 2**12):  # the last page as well
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def change_weights(path: Path, changes: Mapping[str, "Tensor | None"]):
    """Put tensors into a file of weights, or remove them from it."""
    from safetensors.torch import load_file, save_file

    tensors = {**load_file(path), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, {"format": "pt"})
