"""What a study ships, where that is not the winner as it was tested."""

from collections.abc import Iterator

from study.method.unknown import PERCENT
from study.report.formatting import format_count, percent
from study.results.intervals import Interval
from study.results.leaderboard import Leaderboard

FOUND = (
    "calls {found} of the images of unknown classes unknown: those of data.other=foreign, or else, "
    "by models that were trained without a part of the classes, with fewer names, and on classes "
    "of the same dataset"
)
"""What was found of images of unknown classes, less the score."""
_WHICH = {
    "labelled": "shots and validation images",
    "pool": "all training and validation images",
    "everything": "all training, validation and test images",
}
"""What the images of ``refit.images`` are."""


def shipped_name(board: Leaderboard) -> str:
    """Return what ships, in words."""
    shipped = board.shipped
    if shipped and shipped.is_average:
        return "the average of the best"
    if shipped is board.winner:
        return "the winner"
    return "the best configuration that writes a delta"


def describe_shipped(board: Leaderboard) -> Iterator[str]:
    """Yield what is registered, exported and predicted with, if it is not the winner as tested."""
    refit = board.refit
    shipped = board.shipped
    images = board.config.refit.images
    name = shipped_name(board)
    if refit:
        sentence = f"What ships is {name}, trained once more"
        if refit.images is not None:
            sentence += f" on {format_count(refit.images)} labelled images ({_WHICH[images]})"
        if refit.test is None:
            yield f"{sentence}. It is not tested."
        else:
            interval = _over_images(refit.test.images)
            yield (
                f"{sentence}: {percent(refit.test.mean)} % on test{interval}. It was trained once, "
                "so its score has no spread over seeds."
            )
        if refit.after_test:
            yield "It was asked for after the test had been read."
        if refit.unknown is not None and refit.unknown.found is not None:
            found = f"{percent(refit.unknown.found, 0)} %"
            yield (
                f"predict --unknown {PERCENT:g} {FOUND.format(found=found)} "
                f"(AUROC {refit.unknown.auroc:.2f})."
            )
    elif shipped and shipped.is_average:
        yield f"What ships is {name}, as it was tested."


def _over_images(interval: Interval | None) -> str:
    if not interval:
        return ""
    return (
        f" (95 % interval over test images alone {percent(interval.low)} to "
        f"{percent(interval.high)})"
    )
