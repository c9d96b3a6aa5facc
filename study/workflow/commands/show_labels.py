"""The command ``labels``: training images whose label is to be checked."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def show_labels(options: Namespace) -> None:
    """List the labels that the trials of a study doubt.

    Raises:
        StudyError: the study has scored no label, or an option or a file cannot be used.
    """
    with slow_imports():
        from study.workflow.label_listing import list_doubted_labels
    list_doubted_labels(options)
