"""The command ``reproduce``: published results once more, in a folder that can be sent."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def reproduce_paper(options: Namespace) -> None:
    """Run what the paper reports, or print a folder of such results.

    Raises:
        StudyError: something could not be run, or a file is not what reproduce wrote.
    """
    with slow_imports():
        from study.workflow.reproduction.reproduce import print_results, reproduce
    if options.read is not None:
        print_results(options.read, options.console)
    else:
        reproduce(options)
