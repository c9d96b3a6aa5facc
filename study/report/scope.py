"""What the intervals of a study hold for, and what they leave out, in sentences."""

from collections.abc import Iterator, Mapping

from study.report.formatting import format_ends, percent, points
from study.report.names import candidate_name, entry_name
from study.results.intervals import MOST_OVERLAP, Interval, MeanInterval
from study.results.leaderboard import Leaderboard
from study.results.resampling import Resampled


def interval_scope(
    resampled: Resampled,
    scores: Mapping[str, MeanInterval],
    differences: Mapping[str, MeanInterval] | None = None,
) -> tuple[str, ...]:
    """Return sentences on what the intervals of some scores hold for.

    Args:
        resampled: the study's tested trials on test images that were drawn again.
        scores: the mean score of each tested configuration, by its name.
        differences: the differences that are tested, by their names.
    """
    if not scores:
        return ()
    single = [score for score in scores.values() if score.n == 1]
    if len(single) < len(scores):
        sentences = [
            *_of_seeds(resampled.overlap),
            *_for_other_images(resampled.overlap, scores, differences or {}),
        ]
    elif all(score.low is not None for score in single):
        sentences = ["Nothing is trained, so that intervals are over other test images alone."]
    else:
        sentences = ["With one seed, nothing is known about other training images."]
    return (*sentences, *_of_test_images(resampled))


def leaderboard_scope(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on what the intervals of a leaderboard hold for."""
    scores = {entry_name(board, entry): entry.test for entry in board.entries}
    differences = {}
    for label, comparison in board.planned_comparisons.items():
        differences[f"winner − {candidate_name(label)}"] = comparison.paired.difference
    return interval_scope(board.resampled, scores, differences)


def other_readers_sentence(number: int) -> str:
    """Return the sentence on how many other studies read the test images; empty for none."""
    if number == 0:
        return ""
    if number == 1:
        studies_read = "1 other study in this storage read"
    else:
        studies_read = f"{number} other studies in this storage read"
    return (
        f"{studies_read} the same test images. Whoever chooses between studies by their test "
        "scores chooses by these images, and no interval covers that."
    )


def _of_seeds(shared: float | None) -> Iterator[str]:
    """Yield which training images the intervals are about, by what seeds share."""
    if shared is not None and shared >= 1:
        yield (
            "All seeds trained on the same images, so that nothing is claimed about other training "
            "images, and no difference is tested: intervals are over other test images alone."
        )
        return
    yield (
        "An interval covers what a score would be with other draws from the labelled images at "
        "hand, another order of training and other test images (95 %)."
    )
    if shared is None:
        yield "How many training images the seeds share is not known."
    else:
        yield f"Two seeds share {percent(shared, 0)} % of their training images on average."


def _for_other_images(
    shared: float | None,
    scores: Mapping[str, MeanInterval],
    differences: Mapping[str, MeanInterval],
) -> Iterator[str]:
    """Yield the line of wider intervals, where seeds share so much that there are any."""
    if shared is None or not MOST_OVERLAP < shared < 1:
        return
    lines = []
    for name, score in scores.items():
        if score.wider is not None:
            lines.append(f"{name} {percent(score.mean)} {_in_brackets(score.wider)}")
    for name, found in differences.items():
        if found.wider is not None:
            lines.append(f"{name} {points(found.mean)} {format_ends(found.wider, '[{}, {}]')}")
    yield (
        f"For other labelled images, intervals are wider (approximately, after Nadeau and Bengio), "
        f"and those decide what is within noise: {'; '.join(lines)}."
    )


def _in_brackets(interval: Interval) -> str:
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def _of_test_images(resampled: Resampled) -> Iterator[str]:
    """Yield what intervals leave out of test images, and why."""
    if not resampled.images:
        yield "No predictions were kept, so that intervals leave out other test images."
    elif resampled.single_image_class:
        yield (
            "A class has a single test image, so that scores averaged over classes have no "
            "interval over other test images: theirs leaves them out."
        )
