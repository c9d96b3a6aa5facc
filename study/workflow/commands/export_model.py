"""The command ``export``: a tuned model for other libraries."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.process.terminal_table import print_sentences
from study.workflow.arguments import add_model, add_storage


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
        from study.workflow.model_export import export
    for sentence in export(options.model, options.format, options.out, options.storage):
        print_sentences(options.console, sentence)
