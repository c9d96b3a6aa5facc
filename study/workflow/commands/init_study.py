"""The command ``init``: a configuration for one's own images."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def init_study(options: Namespace) -> None:
    """Look at images, write a commented configuration for them, and print how to run it.

    Raises:
        StudyError: the file is there already, or the images cannot be read or are too few.
    """
    with slow_imports():
        from study.workflow.new_configuration import write_configuration
    write_configuration(options)
