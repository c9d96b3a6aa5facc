"""The command ``export``: a tuned model for other libraries."""

from argparse import Namespace

from study.process.slow_imports import slow_imports
from study.process.terminal_table import print_sentences


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
