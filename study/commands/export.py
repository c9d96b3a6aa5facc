"""The command ``export``: a tuned model for other libraries."""

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.commands.arguments import add_model, add_storage
from study.process.ctrl_c import exit_at_ctrl_c

CARD = "README.md"
"""The file of the model card, which the Hugging Face hub shows."""
HELP = "write the final model of a study, or another tuned model, for other libraries"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a model, the folder of studies, the format and the folder to write."""
    add_model(parser)
    add_storage(parser)
    parser.add_argument(
        "--format",
        required=True,
        metavar="hf | peft | openclip | onnx",
        help="hf: a Hugging Face folder; peft: adapters for the unchanged CLIP; openclip: a folder "
        "that OpenCLIP loads; onnx: one graph from pixels to probabilities",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="a new or empty folder; it gets a model card as README.md",
    )


def run(options: Namespace) -> None:
    """Write a tuned model in a format of another library.

    Raises:
        StudyError: an option or the model cannot be used.
    """
    with exit_at_ctrl_c():
        from study.commands.find import find_study_of_model
    find_study_of_model(options.model, options.storage)  # refuses an unknown one at once
    with exit_at_ctrl_c():
        from study.commands.signals import LastingConsole
        from study.process.terminal_table import print_sentences
    console = LastingConsole()
    for sentence in export(options.model, options.format, options.out, options.storage):
        print_sentences(console, sentence)


def export(model: str, name: str, out: Path, storage: Path | None = None) -> list[str]:
    """Write a model in a format of another library, and return lines on what was written.

    Args:
        model: a study, the address of a registered model, or the path of a delta.
        name: the name of the format.
        out: a new or empty folder.
        storage: see `study.commands.find.find_study`.

    Raises:
        StudyError: the format, the folder or the model cannot be used.
    """
    with exit_at_ctrl_c():
        from rich.filesize import decimal

        from study.commands.model_card import find_study_of, model_card
        from study.commands.models import find_model
        from study.serving.exports import find_format, write_export
        from study.storage.folders import new_folder, refuse_taken
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
