"""The final model of a study, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.report.formatting import describe_difference, format_count, percent
from study.report.judgements import describe_score
from study.report.setting_descriptions import settings_in_words

if TYPE_CHECKING:
    from study.results.statistics import MeanInterval
    from study.results.study_result import StudyResult

_IMAGES = {
    "labelled": "shots and validation images",
    "everything": "all training, validation and test images",
}
"""What the images of the final training are, by ``final.images``."""


def final_model_sentences(board: StudyResult) -> list[str]:
    """Return which configuration the final model has, and how well its own training does.

    Returns:
        Nothing if the final model is that of the best configuration, as it was tested.
    """
    final = board.final
    if not final:
        return []
    sentences = []
    name = "the best configuration"
    if final.row is not board.best:
        sentences.append(_describe_substitute(board))
        name = "the best that can"
    if final.trial:
        count = "" if final.images is None else f"{format_count(final.images)} "
        images = f"on {count}labelled images ({_IMAGES[board.config.final.images]})"
        result = "It is not tested, since it has seen the test images."
        if final.test:
            result = (
                f"It scores {percent(final.test.mean)} % on test{_image_interval(final.test)}. It "
                "was trained once, so its spread over seeds was not measured."
            )
        sentences.append(f"The final model is {name}, trained once more {images}. {result}")
    return sentences


def final_model_line(board: StudyResult) -> str:
    """Return the final model for the end of a run; empty as in `final_model_sentences`."""
    final = board.final
    if not final:
        return ""
    name = "the best configuration"
    if final.row is not board.best:
        words = settings_in_words(final.row.settings)
        name = f"{words}, the best configuration that can be written as a delta"
    if final.trial:
        score = "not tested"
        if final.test:
            score = f"{percent(final.test.mean)} % on test{_image_interval(final.test)}"
        count = "more" if final.images is None else format_count(final.images)
        return f"{name}, trained on {count} images: {score}"
    return "" if final.row is board.best else f"{name}, as it was tested"


def _describe_substitute(board: StudyResult) -> str:
    """Return why the final model has another configuration than the best, and how that does."""
    final, best = board.final, board.best
    if not final or not best:
        return ""
    score = describe_score(final.row.test)
    difference = board.difference(final.row, best)
    if difference:
        score += f", {describe_difference(difference)} against the best configuration"
    return (
        f"The best configuration, {settings_in_words(best.settings)}, cannot be written as a "
        f"delta. The best that can is {settings_in_words(final.row.settings)}: {score}."
    )


def _image_interval(test: MeanInterval) -> str:
    if not test.images:
        return ""
    low, high = map(percent, test.images)
    return f" (95 % interval over test images alone {low} to {high})"
