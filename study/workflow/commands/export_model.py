"""The command ``export``: a tuned model for other libraries."""

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.filesize import decimal

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_model, add_storage

CARD = "README.md"
"""The file of the model card, which the Hugging Face hub shows."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    add_storage(parser)
    parser.add_argument(
        "--format",
        required=True,
        metavar="hf | peft | openclip | onnx",
        help="hf: a Hugging Face folder; peft: adapters for the unchanged CLIP; openclip: a "
        "folder that OpenCLIP loads; onnx: one graph from pixels to probabilities",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="a new or empty folder; it gets a model card as README.md",
    )


def export_model(options: Namespace) -> None:
    """Write a study's winner, a registered model or a delta in a format of another library.

    Raises:
        StudyError: an option or the model cannot be used.
    """
    with slow_imports():
        from study.workflow.lookup import refuse_unknown_model
    refuse_unknown_model(options.model, options.storage)
    with slow_imports():
        from study.serving.exports import find_format, write_export
        from study.storage.folders import new_folder, refuse_taken
        from study.workflow.find_model import find_model
        from study.workflow.model_card import find_study_of, model_card
    exported = find_format(options.format)
    refuse_taken(options.out)
    with tempfile.TemporaryDirectory(prefix="clipfit-export-") as scratch:
        saved = find_model(options.model, Path(scratch), options.storage)
        provenance = find_study_of(saved, options.model, options.storage)
        with new_folder(options.out) as folder:
            guide = write_export(saved, exported, folder)
            card = model_card(saved, exported, guide, provenance)
            (folder / CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {exported.title}, {decimal(size)}: {saved.name}")
    for line in (*guide.notes, *guide.limits):
        print(line)
    line = f"{options.out / CARD}: the model card, with the code that loads it"
    if not provenance:
        line += "; its study is not here, so it has no scores"
    print(line)
