"""Random resized crop and flip of training images, on the CPU."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from study.data.images.table import to_device

TRIES = 10
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Crops:
    """The crop of each image of a batch, in pixels, and whether the image is mirrored.

    Each field is a (batch,) tensor on the CPU: int64, and bool for `flip`.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor


def draw_crops(
    heights: Tensor,
    widths: Tensor,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    flip: float = 0.5,
) -> Crops:
    """Draw one crop per image, with the distribution of torchvision's RandomResizedCrop.

    Ten proposals of area and aspect ratio are drawn at once. The first that fits is used, or, if
    none fits, the largest central rectangle of an allowed ratio.

    Args:
        heights: (batch,) heights of the images, in pixels.
        widths: (batch,) widths of the images, in pixels.
        generator: a CPU generator, so that the draw is the same with every device.
        scale: the range of the crop's area, as a fraction of the image's area.
        ratio: the range of width / height, drawn uniformly in its logarithm.
        flip: the probability of mirroring.
    """
    uniform = torch.rand(len(heights), 2 * TRIES + 3, generator=generator, dtype=torch.float64)
    tall, wide = heights.double(), widths.double()
    area = (tall * wide)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[:, :TRIES])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * uniform[:, TRIES : 2 * TRIES])
    width = torch.round(torch.sqrt(area * aspect))
    height = torch.round(torch.sqrt(area / aspect))
    fits = (width > 0) & (width <= wide[:, None]) & (height > 0) & (height <= tall[:, None])
    # Not argmax: among equal values it need not return the first one.
    order = torch.where(fits, torch.arange(TRIES), TRIES).amin(dim=1)
    first = order.clamp(max=TRIES - 1)[:, None]
    found = order < TRIES
    widest = torch.where(wide / tall > ratio[1], torch.round(tall * ratio[1]), wide)
    highest = torch.where(wide / tall < ratio[0], torch.round(wide / ratio[0]), tall)
    width = torch.where(found, width.gather(1, first)[:, 0], widest)
    height = torch.where(found, height.gather(1, first)[:, 0], highest)
    spare_y, spare_x = tall - height, wide - width
    top = torch.where(found, (uniform[:, -3] * (spare_y + 1)).floor(), (spare_y / 2).floor())
    left = torch.where(found, (uniform[:, -2] * (spare_x + 1)).floor(), (spare_x / 2).floor())
    return Crops(top.long(), left.long(), height.long(), width.long(), uniform[:, -1] < flip)


def crop_resize(images: Iterable[Tensor], crops: Crops, size: int) -> Tensor:
    """Crop every image, resize the crop (bicubic, antialiased) and mirror it where asked.

    Args:
        images: images of any sizes, each (3, height, width) uint8.
        crops: one crop inside each image.
        size: the height and width of the result, in pixels.

    Returns:
        (images, 3, size, size) uint8.
    """
    result = torch.empty(len(crops.top), 3, size, size, dtype=torch.uint8)
    rectangles = torch.stack([crops.top, crops.left, crops.height, crops.width], dim=1).tolist()
    for target, image, (top, left, height, width), flip in zip(
        result, images, rectangles, crops.flip.tolist(), strict=True
    ):
        part = image[None, :, top : top + height, left : left + width]
        resized = F.interpolate(part, (size, size), mode="bicubic", antialias=True)[0]
        target.copy_(resized.flip(-1) if flip else resized)
    return result


def random_resized_crop_flip(
    images: Sequence[Tensor] | Tensor,
    size: int,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    flip: float = 0.5,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Augment a batch as the reference does: random resized crop (bicubic), horizontal flip.

    Args:
        images: (batch, 3, height, width) uint8, or a list of (3, height, width) uint8 of any sizes;
            on the CPU.
        size: the height and width of CLIP's input, in pixels.
        generator: a CPU generator; the only source of randomness.
        scale: the range of the crop's area, as a fraction of the image's area.
        ratio: the range of the crop's width / height.
        flip: the probability of mirroring.
        device: the device of the result.

    Returns:
        (batch, 3, size, size) uint8 on the device.
    """
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.long).view(-1, 2)
    crops = draw_crops(sizes[:, 0], sizes[:, 1], generator, scale=scale, ratio=ratio, flip=flip)
    return to_device(crop_resize(images, crops, size), torch.device(device))
