"""What the intervals of a study hold for, and what they leave out, in sentences."""

from collections.abc import Iterator, Mapping

from study.report.formatting import format_ends, percent, points
from study.report.names import candidate_name, entry_name
from study.results.intervals import MOST_OVERLAP, MeanInterval
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
    sentences: list[str] = []
    single_seeds = [score for score in scores.values() if score.n == 1]
    if len(single_seeds) < len(scores):
        sentences += _describe_seeds(resampled.overlap)
        sentences += _wider_intervals(resampled.overlap, scores, differences or {})
    elif all(score.low is not None for score in single_seeds):
        sentences.append("Nothing is trained, so that intervals are over other test images alone.")
    else:
        sentences.append("With one seed, nothing is known about other training images.")
    sentences += _describe_test_images(resampled)
    return tuple(sentences)


def leaderboard_scope(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on what the intervals of a leaderboard hold for."""
    scores = {entry_name(board, entry): entry.test for entry in board.entries}
    differences = {}
    for label, comparison in board.planned_comparisons.items():
        differences[f"winner − {candidate_name(label)}"] = comparison.paired.difference
    return interval_scope(board.resampled, scores, differences)


def same_test_sentence(studies: int) -> str:
    """Return the sentence on how many other studies read the test images; empty for none."""
    if studies == 0:
        return ""
    if studies == 1:
        readers = "1 other study in this storage read"
    else:
        readers = f"{studies} other studies in this storage read"
    return (
        f"{readers} the same test images. Whoever chooses between studies by their test "
        "scores chooses by these images, and no interval covers that."
    )


def _describe_seeds(overlap: float | None) -> Iterator[str]:
    """Yield which training images the intervals are about.

    Args:
        overlap: the share of training images that two seeds have in common, a fraction.
    """
    if overlap is not None and overlap >= 1:
        yield (
            "All seeds trained on the same images, so that nothing is claimed about other training "
            "images, and no difference is tested: intervals are over other test images alone."
        )
        return
    yield (
        "An interval covers what a score would be with other draws from the labelled images at "
        "hand, another order of training and other test images (95 %)."
    )
    if overlap is None:
        yield "How many training images the seeds share is not known."
    else:
        yield f"Two seeds share {percent(overlap, 0)} % of their training images on average."


def _wider_intervals(
    overlap: float | None,
    scores: Mapping[str, MeanInterval],
    differences: Mapping[str, MeanInterval],
) -> Iterator[str]:
    """Yield the sentence that lists wider intervals, if seeds share so much that there are any."""
    if overlap is None or not MOST_OVERLAP < overlap < 1:
        return
    intervals = []
    for name, score in scores.items():
        if score.wider is not None:
            low, high = percent(score.wider.low), percent(score.wider.high)
            intervals.append(f"{name} {percent(score.mean)} [{low}, {high}]")
    for name, difference in differences.items():
        if difference.wider is not None:
            ends = format_ends(difference.wider, "[{}, {}]")
            intervals.append(f"{name} {points(difference.mean)} {ends}")
    yield (
        f"For other labelled images, intervals are wider (approximately, after Nadeau and Bengio), "
        f"and those decide what is within noise: {'; '.join(intervals)}."
    )


def _describe_test_images(resampled: Resampled) -> Iterator[str]:
    """Yield why intervals leave out other test images, if they do."""
    if not resampled.images:
        yield "No predictions were kept, so that intervals leave out other test images."
    elif resampled.single_image_class:
        yield (
            "A class has a single test image, so that scores averaged over classes have no "
            "interval over other test images: theirs leaves them out."
        )
