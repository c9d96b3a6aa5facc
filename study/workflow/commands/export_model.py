"""The command ``export``: a tuned model for other libraries."""

from argparse import Namespace

from study.process.terminal_table import print_sentences
from study.workflow.model_export import export


def export_model(options: Namespace) -> None:
    """Write a study's winner, a registered model or a delta in a format of another library.

    Raises:
        StudyError: an option or the model cannot be used.
    """
    for sentence in export(options.model, options.format, options.out, options.storage):
        print_sentences(options.console, sentence)
