"""Files of pictures whose RGB values are known, in every kind that is read."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY = np.array([[0, 64, 128, 255], [255, 32, 16, 8]], np.uint8)
"""The picture of one channel; turned or mirrored it is another in every way."""
RGB = np.stack([GREY, GREY[::-1], np.full_like(GREY, 77)], axis=-1)
"""The picture in colour."""
SIXTEEN = GREY.astype(np.uint16) * 257
"""The picture of one channel in 16 bits: black is 0, white 65535."""
ALPHA = np.array([[255, 0, 255, 255], [0, 255, 51, 255]], np.uint8)
"""Of 255 an opaque pixel, of 0 one that is not seen; 51 is a fifth."""


@dataclass(frozen=True)
class Picture:
    """A file, and what it shows."""

    name: str
    """With the suffix that it would have on disk."""
    contents: bytes
    expected: NDArray[np.uint8]
    """(height, width, 3) uint8, or (height, width) of grey."""
    within: int = 0
    """How far a channel may be off, where the format or a conversion loses something."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """What it shows, (height, width, 3) uint8."""
        grey = self.expected.ndim == 2
        return np.stack([self.expected] * 3, axis=-1) if grey else self.expected


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Encode an image by Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Give a chunk of a PNG with a valid checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: NDArray[Any], kind: int, transparent: bytes = b"") -> bytes:
    """Encode 16-bit PNG, some of which Pillow reads and does not write.

    Args:
        pixels: (height, width, channels) or (height, width).
        kind: PNG's number of the colour type: 0 grey, 2 colour, 4 and 6 with alpha.
        transparent: contents of the transparency chunk.
    """
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    extra = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(data: bytes, bits: int, *, width: int = 4, photometric: int = 1, form: int = 1) -> bytes:
    """Encode a TIFF of one channel, of kinds that Pillow reads and does not write.

    Args:
        data: the pixels, from the upper left on.
        bits: of a pixel.
        width: of the picture, whose height is 2.
        photometric: 0: the value 0 is white; 1: it is black.
        form: of a pixel: 1 unsigned, 2 with a sign, 3 floating-point.
    """
    rows = {256: width, 257: 2, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 2, 339: form}
    rows |= {273: 8 + 2 + 12 * 10 + 4, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, rows[tag]) for tag in sorted(rows))
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + entries + struct.pack("<I", 0) + data


def over_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a picture over white."""
    share = (alpha / 255)[..., None] if colour.ndim == 3 else alpha / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


def palette() -> tuple[Image.Image, NDArray[np.uint8]]:
    """Make a picture of four palette colours, and what it shows."""
    colours = np.array([[10, 20, 30], [200, 100, 50], [0, 0, 255], [255, 255, 0]], np.uint8)
    places = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
    image = Image.fromarray(places, "P")
    image.putpalette(colours.tobytes())
    return image, colours[places]


def frames(form: str, **options: Any) -> bytes:
    """Encode an animation, or pages, whose first is the picture and whose second is red."""
    red = Image.new("RGB", (4, 2), "red")
    return saved(Image.fromarray(RGB), form, save_all=True, append_images=[red], **options)


def known_pictures() -> list[Picture]:
    """Make a picture of every kind that is not left to Pillow, and of a few that are."""
    grey, colour = Image.fromarray(GREY), Image.fromarray(RGB)
    clear = Image.fromarray(np.dstack([RGB, ALPHA]))
    pale = Image.fromarray(np.dstack([GREY, ALPHA]), "LA")
    indexed, shown = palette()
    hidden = np.where((np.asarray(indexed) == 2)[..., None], 255, shown).astype(np.uint8)
    share = Image.fromarray(SIXTEEN.astype(np.float32) / 65535)
    deep, wide = SIXTEEN, RGB.astype(np.uint16) * 257
    alpha = ALPHA.astype(np.uint16) * 257
    black_hidden = np.where(GREY == 0, 255, GREY).astype(np.uint8)
    bits = ((GREY.astype(np.uint32) * 4095 + 127) // 255).reshape(-1, 2)
    packed = b"".join(int(a << 12 | b).to_bytes(3, "big") for a, b in bits)
    ten_bits = b"P5 4 2 1023\n" + np.rint(GREY / 255 * 1023).astype(">u2").tobytes()
    inks = Image.new("CMYK", (64, 16), (0, 255, 255, 0))
    red = np.full((16, 64, 3), (255, 0, 0), np.uint8)
    return [
        Picture("grey.png", saved(grey, "PNG"), GREY),
        Picture("zero is white.tif", tiff(GREY.tobytes(), 8, photometric=0), 255 - GREY),
        Picture("colour.png", saved(colour, "PNG"), RGB),
        Picture("16 bits.png", saved(Image.fromarray(deep), "PNG"), GREY),
        Picture("10 bits.pgm", ten_bits, GREY),
        Picture("16 bits big.tif", saved(Image.fromarray(deep.astype(">u2")), "TIFF"), GREY),
        Picture("16 white.tif", tiff(deep.tobytes(), 16, photometric=0), 255 - GREY),
        Picture("12 bits.tif", tiff(packed, 12), GREY),
        Picture("16 bits hidden.png", png(deep, 0, struct.pack(">H", 0)), black_hidden),
        Picture("16 bits alpha.png", png(np.dstack([deep, alpha]), 4), over_white(GREY, ALPHA)),
        Picture("16 bits colour.png", png(wide, 2), RGB),
        Picture("16 bits clear.png", png(np.dstack([wide, alpha]), 6), over_white(RGB, ALPHA)),
        Picture("float.tif", saved(share, "TIFF"), GREY),
        Picture("palette.png", saved(indexed, "PNG"), shown),
        Picture("palette hidden.png", saved(indexed, "PNG", transparency=2), hidden),
        Picture("grey hidden.png", saved(grey, "PNG", transparency=0), black_hidden),
        Picture("alpha.png", saved(pale, "PNG"), over_white(GREY, ALPHA)),
        Picture("clear.png", saved(clear, "PNG"), over_white(RGB, ALPHA)),
        Picture("inks.jpg", saved(inks, "JPEG", quality=100, subsampling=0), red, 4),
        Picture("animated.gif", frames("GIF"), RGB),
        Picture("pages.tif", frames("TIFF"), RGB),
    ]


ORIENTATIONS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""EXIF's tag to how a picture lies in a file that has it, so that it is upright once turned."""


def turned(pixels: NDArray[Any], orientation: int, form: str, **options: Any) -> bytes:
    """Encode a picture as it lies in the file of a camera that was held differently."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = np.ascontiguousarray(ORIENTATIONS[orientation](pixels))
    return saved(Image.fromarray(lying), form, exif=exif, **options)
