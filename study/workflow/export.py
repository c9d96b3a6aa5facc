"""The command that writes a tuned model for other libraries."""

import tempfile
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from rich.filesize import decimal

from study.errors import StudyError
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.serving.exports import format_named, write_export
from study.serving.saved import SavedModel
from study.storage.command_lines import default_storage
from study.storage.folders import new_folder, refuse_taken
from study.storage.study_folder import StudyFolder, studies
from study.workflow.lookup import find_study
from study.workflow.model_card import Provenance, model_card
from study.workflow.predict import find_model

CARD = "README.md"
"""The file of the model card, which the Hugging Face hub shows."""


def export(options: Namespace) -> None:
    """Write a study's winner, a registered model or a delta in a format of another library.

    Raises:
        StudyError: an option or the model cannot be used.
    """
    chosen = format_named(options.format)
    refuse_taken(options.out)
    with tempfile.TemporaryDirectory(prefix="clipfit-export-") as scratch:
        saved = find_model(options.model, Path(scratch), options.storage)
        tested = find_study_of(saved, options.model, options.storage)
        with new_folder(options.out) as whole:
            written = write_export(saved, chosen, whole)
            card = model_card(saved, chosen, written, tested)
            (whole / CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {chosen.title}, {decimal(size)}: {saved.name}")
    for note in (*written.notes, *written.limits):
        print(note)
    known = "" if tested else "; its study is not here, so it has no scores"
    print(f"{options.out / CARD}: the model card, with the code that loads it{known}")


def find_study_of(saved: SavedModel, word: str, storage: Path | None = None) -> Provenance | None:
    """Return the study that a model is from, with the trial; None if it is not here.

    Args:
        saved: the model.
        word: what the command names, such as a study or the path of a delta.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        StudyError: its files are damaged.
    """
    origin = saved.origin
    if origin is None:
        return None
    # A delta mostly lies in its study, which may be in another folder than the studies here.
    places = [StudyFolder(saved.delta.resolve().parent.parent.parent)]
    with suppress(StudyError):  # a model of the registry is no study, nor is a delta
        places.append(find_study(word, storage))
    places += studies(Path(storage or default_storage()))
    found = next((place for place in places if _study_id(place) == origin.study_id), None)
    if found is None:
        return None
    board = leaderboard(read_results(found.path))
    return next(
        (Provenance(board, one) for one in board.trials if one.trial_id == origin.trial), None
    )


def _study_id(folder: StudyFolder) -> str | None:
    with suppress(StudyError):  # another study that is damaged is no reason to stop
        return str(folder.read_identity()["study_id"])
    return None
