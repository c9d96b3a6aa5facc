"""A tuned model in a format of another library, with a model card."""

import tempfile
from pathlib import Path

from rich.filesize import decimal

from study.serving.exports import find_format, write_export
from study.storage.folders import new_folder, refuse_taken
from study.workflow.find_model import find_model
from study.workflow.model_card import find_study_of, model_card

CARD = "README.md"
"""The file of the model card, which the Hugging Face hub shows."""


def export(model: str, name: str, out: Path, storage: Path | None = None) -> list[str]:
    """Write a model in a format of another library, and return lines on what was written.

    Args:
        model: a study, the address of a registered model, or the path of a delta.
        name: the name of the format.
        out: a new or empty folder.
        storage: see `study.workflow.lookup.find_study`.

    Raises:
        StudyError: the format, the folder or the model cannot be used.
    """
    exported = find_format(name)
    refuse_taken(out)
    with tempfile.TemporaryDirectory(prefix="clipfit-export-") as scratch:
        saved = find_model(model, Path(scratch), storage)
        provenance = find_study_of(saved, model, storage)
        with new_folder(out) as folder:
            guide = write_export(saved, exported, folder)
            card = model_card(saved, exported, guide, provenance)
            (folder / CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    lines = [f"{out}: {exported.title}, {decimal(size)}: {saved.name}"]
    lines += (*guide.notes, *guide.limits)
    line = f"{out / CARD}: the model card, with the code that loads it"
    if not provenance:
        line += "; its study is not here, so it has no scores"
    return [*lines, line]
