"""Random resized crop and flip: image by image on the CPU, a whole batch at once on a device."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TRIES = 10
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Crops:
    """Rectangles of a batch in pixels, and which images are mirrored; each (batch,), on the CPU."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor

    def rectangles(self) -> list[list[int]]:
        """Give top, left, height and width of each."""
        return torch.stack([self.top, self.left, self.height, self.width], dim=1).tolist()


def normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn pixels into CLIP's input.

    Args:
        pixels: (batch, 3, height, width) uint8.
        mean: of each channel, of values in 0..1.
        std: of each channel.

    Returns:
        (batch, 3, height, width) float32, on the same device.
    """
    center = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    spread = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    return pixels.float().div_(255).sub_(center).div_(spread)


def draw_crops(
    heights: Tensor,
    widths: Tensor,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
    flip: float = 0.5,
) -> Crops:
    """Draw one rectangle an image, distributed as torchvision's RandomResizedCrop does.

    Ten proposals of area and aspect ratio are drawn at once and the first that fits is taken, else
    the largest central rectangle of an allowed ratio.

    Args:
        heights: (batch,) of the images, in pixels.
        widths: (batch,).
        generator: on the CPU, so that every device draws the same.
        scale: range of the area, as fractions of the image's.
        ratio: range of width / height, drawn by its logarithm.
        flip: probability of mirroring.
    """
    count = len(heights)
    uniform = torch.rand(count, 2 * TRIES + 3, generator=generator, dtype=torch.float64)
    tall, wide = heights.double(), widths.double()
    area = (tall * wide)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[:, :TRIES])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * uniform[:, TRIES : 2 * TRIES])
    width = torch.round(torch.sqrt(area * aspect))
    height = torch.round(torch.sqrt(area / aspect))
    fits = (width > 0) & (width <= wide[:, None]) & (height > 0) & (height <= tall[:, None])
    # argmax of equal values is not the first one on every device.
    order = torch.where(fits, torch.arange(TRIES), TRIES).amin(dim=1)
    first = order.clamp(max=TRIES - 1)[:, None]
    found = order < TRIES
    central_width, central_height = _central(tall, wide, ratio)
    width = torch.where(found, width.gather(1, first)[:, 0], central_width)
    height = torch.where(found, height.gather(1, first)[:, 0], central_height)
    spare_y, spare_x = tall - height, wide - width
    top = torch.where(found, (uniform[:, -3] * (spare_y + 1)).floor(), (spare_y / 2).floor())
    left = torch.where(found, (uniform[:, -2] * (spare_x + 1)).floor(), (spare_x / 2).floor())
    return Crops(top.long(), left.long(), height.long(), width.long(), uniform[:, -1] < flip)


def _central(tall: Tensor, wide: Tensor, ratio: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Give width and height of the largest rectangle of an allowed ratio."""
    aspect = wide / tall
    width = torch.where(aspect > ratio[1], torch.round(tall * ratio[1]), wide)
    height = torch.where(aspect < ratio[0], torch.round(wide / ratio[0]), tall)
    return width, height


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, which antialiased resizing uses."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def resize_weights(
    start: Tensor, length: Tensor, *, size: int, total: int, device: torch.device
) -> Tensor:
    """Compute the matrices that resize a stretch of pixels, bicubic with antialiasing.

    Args:
        start: (batch,) first pixel of the stretch, on the CPU.
        length: (batch,) pixels in it, on the CPU; none outside is used.
        size: of the result, in pixels.
        total: pixels of the whole line.
        device: of the result.

    Returns:
        (batch, size, total) float32, rows of sum 1.
    """
    # Few pixels bear on each pixel of the result, and only their weights are computed. The CPU
    # counts them, so that no device has to be waited for.
    taps = math.ceil(4 * max(1.0, float(length.max()) / size)) + 1
    first_pixel, pixels = start.to(device)[:, None, None], length.to(device)[:, None, None]
    step = pixels.double() / size
    wide = step.clamp(min=1)
    center = step * (torch.arange(size, device=device)[None, :, None] + 0.5)
    position = (center - 2 * wide).floor().long() + torch.arange(taps, device=device)
    weights = _cubic((position + 0.5 - center) / wide)
    weights = weights.masked_fill((position < 0) | (position >= pixels), 0)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    place = (first_pixel + position).clamp(0, total - 1)
    lines = torch.zeros(len(start), size, total, dtype=torch.float32, device=device)
    # What is clamped adds zero.
    return lines.scatter_add_(2, place, weights.float())


def crop_resize(pixels: Tensor, crops: Crops, size: int) -> Tensor:
    """Cut a rectangle out of every image, resize and mirror it: two matrix products a batch.

    That suits a GPU, which would wait for many small calls. On a CPU `crop_resize_each` is about
    twenty times as fast, since few of the numbers in those products are not zero.

    Args:
        pixels: (batch, 3, height, width) uint8, on any device.
        crops: rectangles inside the images.
        size: of the result, in pixels.

    Returns:
        (batch, 3, size, size) uint8 on the same device.
    """
    device, (height, width) = pixels.device, pixels.shape[-2:]
    rows = resize_weights(crops.top, crops.height, size=size, total=height, device=device)
    columns = resize_weights(crops.left, crops.width, size=size, total=width, device=device)
    columns = torch.where(crops.flip.to(device)[:, None, None], columns.flip(1), columns)
    # Columns first, and whole grey levels between the two, as Pillow and torchvision have it.
    narrow = torch.matmul(pixels.float(), columns.transpose(1, 2)[:, None])
    resized = torch.matmul(rows[:, None], narrow.round_().clamp_(0, 255))
    return resized.round().clamp(0, 255).to(torch.uint8)


def crop_resize_each(images: Iterable[Tensor], crops: Crops, size: int) -> Tensor:
    """Do on the CPU what `crop_resize` does.

    Args:
        images: (3, height, width) uint8 of any sizes.
        crops: a rectangle inside each image.
        size: of the result, in pixels.

    Returns:
        (images, 3, size, size) uint8.
    """
    result = torch.empty(len(crops.top), 3, size, size, dtype=torch.uint8)
    for target, image, (top, left, height, width), flip in zip(
        result, images, crops.rectangles(), crops.flip.tolist(), strict=True
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
        size: of CLIP's input, in pixels.
        generator: on the CPU; the only source of randomness.
        scale: range of the crop's area, as fractions of the image's.
        ratio: range of its width / height.
        flip: probability of mirroring.
        device: of the result.

    Returns:
        (batch, 3, size, size) uint8.
    """
    device = torch.device(device)
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.long).view(-1, 2)
    crops = draw_crops(sizes[:, 0], sizes[:, 1], generator, scale=scale, ratio=ratio, flip=flip)
    if device.type == "cpu":
        return crop_resize_each(images, crops, size)
    # Only what is cut out travels to the device.
    batch, crops = cut(images, crops)
    return crop_resize(to_device(batch, device), crops, size)


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """Copy a batch to a device without waiting for it, which needs pinned memory on a GPU."""
    pinned = batch.pin_memory() if device.type == "cuda" else batch
    return pinned.to(device, non_blocking=True)


def cut(images: Sequence[Tensor] | Tensor, crops: Crops) -> tuple[Tensor, Crops]:
    """Cut the rectangles out and pad them to one size; the new rectangles start at 0."""
    high, wide = int(crops.height.max()), int(crops.width.max())
    batch = images[0].new_zeros(len(images), 3, high, wide)
    for target, image, (top, left, height, width) in zip(
        batch, images, crops.rectangles(), strict=True
    ):
        target[:, :height, :width] = image[:, top : top + height, left : left + width]
    zeros = torch.zeros_like(crops.top)
    return batch, Crops(zeros, zeros, crops.height, crops.width, crops.flip)
