"""The scores that tables show beside the protocol's own: their headings, and what they are."""

from study.results.chance import BALANCED
from study.results.study_result import StudyResult

BALANCED_NOTE = (
    "Balanced is the score by the mean recall of the classes in place of the accuracy: "
    "every class counts alike, however many test images it has."
)


def further_header(results: StudyResult) -> list[str]:
    """Return the names of the columns of `StudyResult.further_names`."""
    headings = {BALANCED: BALANCED, **results.protocol.further_headings}
    return [f"{headings[name]} %" for name in results.score_names.further]


def further_note(results: StudyResult) -> str:
    """Explain the scores of `StudyResult.further_names` in sentences; empty without any."""
    notes = []
    if BALANCED in results.score_names.further:
        notes.append(BALANCED_NOTE)
    if set(results.score_names.further) - {BALANCED}:
        notes.append(results.protocol.further_explanation)
    return " ".join(notes)
