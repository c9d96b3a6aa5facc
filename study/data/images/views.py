"""A fixed set of augmented views of each image: crops that a seed decides, written as images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from study.data.images.table import Crops, ImageTable, crop_resize, draw_uniform, place_crops
from study.storage.atomic import sha256_of

if TYPE_CHECKING:
    from PIL import Image  # a trial reads views that are written, and needs no Pillow


def view_path(path: str, number: int) -> str:
    """Return the path of a view of an image, which no other view has."""
    return f"{path}#{number}"


@dataclass(frozen=True)
class Views:
    """The views of all images of a table, as a source of images of their own.

    A view depends on the seed, its number and its image alone: there are the same views of it
    whatever other images are in the table, and the first of many views are those of few.
    """

    table: ImageTable
    """The whole images."""
    size: int
    """The height and width of a view, in pixels."""
    number: int
    """The number of views of each image."""
    seed: int
    """The seed of the draw that the images are of."""

    @cached_property
    def paths(self) -> list[str]:
        """The paths of all views: those of an image stand together, images as in the table."""
        return [view_path(path, k) for path in self.table.paths for k in range(self.number)]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what each view is, in hexadecimal: its path, crop and size."""
        lines = (f"{path} {self._described(path)}" for path in self.paths)
        return sha256_of("\n".join(lines).encode())

    def open(self, path: str) -> Image.Image:
        """Cut out one view.

        Args:
            path: see `view_path`.
        """
        from PIL import Image

        image = self.table.images([path.rpartition("#")[0]])
        crops = Crops(*(torch.tensor([value]) for value in self._crops[path]))
        return Image.fromarray(crop_resize(image, crops, self.size)[0].permute(1, 2, 0).numpy())

    def stamp(self, path: str) -> str:
        """Return a text that changes when a view does, or any image of the table."""
        return f"{self.table.content_hash} {self._described(path)}"

    def _described(self, path: str) -> str:
        return " ".join(map(str, (*self._crops[path], self.size)))

    @cached_property
    def _crops(self) -> Mapping[str, tuple[int, int, int, int, bool]]:
        """Of each view its crop, by the fields of `Crops`."""
        images = self.table.images(self.table.paths)
        sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.long).view(-1, 2)
        sizes = sizes.repeat_interleave(self.number, dim=0)
        generator, drawn = torch.Generator(), []
        for path in self.paths:
            # A generator for each view, so that it does not depend on what was drawn before.
            generator.manual_seed(_seed(self.seed, path))
            drawn.append(draw_uniform(1, generator))
        crops = place_crops(torch.cat(drawn), sizes[:, 0], sizes[:, 1])
        columns = (crops.top, crops.left, crops.height, crops.width, crops.flip)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return dict(zip(self.paths, rows, strict=True))


def _seed(seed: int, path: str) -> int:
    digest = hashlib.sha256(f"view\0{seed}\0{path}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
