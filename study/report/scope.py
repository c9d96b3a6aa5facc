"""What the intervals of a study hold for, and what they leave out, in sentences."""

from collections.abc import Iterator

from study.report.formatting import percent
from study.report.names import entry_name
from study.results.intervals import MOST_OVERLAP, Intervals
from study.results.leaderboard import Leaderboard
from study.results.resampling import Resampled
from study.results.study_results import Results


def interval_scope(resampled: Resampled, scores: Intervals) -> Iterator[str]:
    """Yield sentences on what the intervals of some scores hold for.

    Args:
        resampled: the study's tested trials on test images that were drawn again.
        scores: the mean score of each tested configuration, by its name.
    """
    if not scores:
        return
    single_seeds = [score for score in scores.values() if score.n == 1]
    if len(single_seeds) < len(scores):
        yield from _describe_seeds(resampled)
        yield from _wider_intervals(resampled.overlap, scores)
    elif all(score.low is not None for score in single_seeds):
        yield "Nothing is trained, so that intervals are over other test images alone."
    else:
        yield "With one seed, nothing is known about other training images."
    yield from _describe_test_images(resampled)


def leaderboard_scope(board: Leaderboard) -> Iterator[str]:
    """Return sentences on what the intervals of a leaderboard hold for."""
    scores = {entry_name(board, entry): entry.test for entry in board.entries}
    return interval_scope(board.resampled, scores)


def same_test_sentences(results: Results) -> Iterator[str]:
    """Yield how many other studies read the test images, if any did."""
    studies = results.studies_on_same_test
    if not studies:
        return
    readers = "1 other study" if studies == 1 else f"{studies} other studies"
    yield (
        f"{readers} in this storage read the same test images. Whoever chooses between studies by "
        "their test scores chooses by these images, and no interval covers that."
    )


def _describe_seeds(resampled: Resampled) -> Iterator[str]:
    """Yield which training images the intervals are about, and whether other test images."""
    overlap = resampled.overlap
    if overlap is not None and overlap >= 1:
        yield (
            "All seeds trained on the same images, so that nothing is claimed about other training "
            "images, and no difference is tested: intervals are over other test images alone."
        )
        return
    changes = " and another order of training"
    if resampled.images:
        changes = ", another order of training and other test images"
    yield (
        "An interval covers what a score would be with other draws from the labelled images at "
        f"hand{changes} (95 %)."
    )
    if overlap is None:
        yield "How many training images the seeds share is not known."
    else:
        yield f"Two seeds share {percent(overlap, 0)} % of their training images on average."


def _wider_intervals(overlap: float | None, scores: Intervals) -> Iterator[str]:
    """Yield the sentence that lists wider intervals, if seeds share so much that there are any."""
    if overlap is None or not MOST_OVERLAP < overlap < 1:
        return
    intervals = []
    for name, score in scores.items():
        if score.wider is not None:
            low = percent(score.wider.low)
            high = percent(score.wider.high)
            intervals.append(f"{name} {percent(score.mean)} [{low}, {high}]")
    yield (
        "For other labelled images, intervals are wider (approximately, after Nadeau and Bengio). "
        "Each Δ has the wider one, which decides what is within noise. Those of scores are: "
        f"{'; '.join(intervals)}."
    )


def _describe_test_images(resampled: Resampled) -> Iterator[str]:
    """Yield why intervals leave out other test images, if they do."""
    if not resampled.images:
        yield "No predictions of test images were kept, so no interval covers other test images."
    elif resampled.single_image_class:
        yield (
            "A class has a single test image, or a single group of them, so that scores averaged "
            "over classes have no interval over other test images: theirs leaves them out."
        )
