"""The command ``export``: a tuned model for other libraries, with a model card."""

from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.arguments import add_model
from study.commands.console import output_console
from study.errors import StudyError

if TYPE_CHECKING:
    from study.report.model_card import Provenance
    from study.serving.saved_model import SavedModel

CARD = "README.md"
"""The file of the model card, which the Hugging Face hub shows."""
HELP = "export the final model of a study, or another tuned model, to other libraries"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a model, the format and the folder to write."""
    add_model(parser)
    parser.add_argument(
        "--format",
        required=True,
        metavar="hf | peft | openclip | onnx",
        help="hf: a model folder for transformers; peft: adapters for the unchanged backbone; "
        "openclip: a folder for OpenCLIP; onnx: one graph from pixels to probabilities",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="a new or empty folder, to which a model card is written as README.md",
    )


def run(options: Namespace) -> None:
    """Write a tuned model in a format of another library.

    Raises:
        StudyError: an option or the model cannot be used.
    """
    from study.report.terminal import print_sentences

    console = output_console()
    for line in export(options.model, options.format, options.out, options.storage):
        print_sentences(console, line)


def export(model: str, name: str, out: Path, storage: str | None = None) -> list[str]:
    """Write a model in a format of another library, and return lines on what was written.

    Args:
        model: a study, the address of a registered model, or the path of a delta.
        name: the name of the format.
        out: a new or empty folder.
        storage: see `study.commands.find.find_study`.

    Raises:
        StudyError: the format, the folder or the model cannot be used.
    """
    from study.commands.find import find_model

    with find_model(model, storage) as saved:  # an unknown one is refused at once
        from rich.filesize import decimal

        from study.report.model_card import model_card
        from study.serving.exports import find_format, write_export
        from study.storage.new_folders import new_folder, refuse_taken

        exported = find_format(name)
        refuse_taken(out)
        provenance = find_study_of(saved, storage)
        with new_folder(out) as folder:
            guide = write_export(saved, exported, folder)
            card = model_card(saved, exported, guide, provenance)
            (folder / CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    figures = "" if provenance else "; its study is not here, so it has no scores"
    return [
        f"{out}: {exported.title}, {decimal(size)}: {saved.name}",
        *guide.notes,
        f"{out / CARD}: the model card, with the code that loads it{figures}",
    ]


def find_study_of(saved: "SavedModel", storage: str | None = None) -> "Provenance | None":
    """Return the study that a model is from, with the trial; None if it is not found.

    Args:
        saved: the model.
        storage: see `study.commands.find.find_study`.

    Raises:
        StudyError: its files are damaged.
    """
    from study.report.model_card import Provenance
    from study.results.study_result import read_study_result
    from study.storage.command_lines import storage_folder
    from study.storage.study_folder import StudyFolder, studies

    # A delta mostly lies in its study, which may be in another folder than the studies here.
    folders = [StudyFolder(saved.delta.resolve().parent.parent.parent)]
    folders += studies(storage_folder(storage))
    for folder in folders:
        study_id = None
        with suppress(StudyError):  # another study that is damaged is no reason to stop
            study_id = folder.read_identity()["study_id"]
        if saved.origin and study_id == saved.origin.study_id:
            result = read_study_result(folder.path)
            wanted = saved.origin.trial, saved.settings.head
            for trial in result.trial_results:  # a test is listed once for each head in use
                if (trial.trial_id, trial.settings.head) == wanted:
                    return Provenance(result, trial)
    return None
