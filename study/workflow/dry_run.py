"""A look at everything that a study needs, which starts nothing: ``--check``."""

from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console

from study.config.sweep import Member
from study.errors import StudyError
from study.process.garbage import resume_collection
from study.process.terminal_table import print_sentences
from study.search.machine import unjoined_cluster
from study.trial.study import Study
from study.workflow.announcement import print_study_rows
from study.workflow.check import check_study
from study.workflow.image_check import check_images
from study.workflow.start_warnings import print_warnings


def dry_run(study: Study, options: Namespace, *, resuming: bool) -> None:
    """Look at everything, print what is there, and start nothing.

    Args:
        study: the study.
        options: those of the command.
        resuming: whether the study may already exist.

    Raises:
        StudyError: the study cannot start.
    """
    check_study(study, resuming=resuming)
    resume_collection()
    print_study_rows(study, options.console)
    try:
        pixels = check_images(study, options.console, every=options.images)
    except StudyError:  # of a sample of the images; this tells more
        print_warnings([study], options.console)
        raise
    if options.estimate:
        from study.workflow.estimate import estimate

        print_sentences(options.console, str(estimate(study)))
    options.console.print("all is well: configuration, data, backbone, storage and tracking server")
    print_warnings([study], options.console, pixels)
    beside = unjoined_cluster()
    if beside is not None:
        print_sentences(options.console, beside, "yellow")


def dry_run_of_sweep(members: Sequence[Member], console: Console) -> None:
    """Look at everything that the studies of a sweep need, and start nothing.

    Raises:
        ConfigError: a study cannot start.
    """
    # Ray and Optuna take seconds to import, and a single study does without them here.
    from study.workflow.run_sweep import check_sweep, member_study

    check_sweep(members)
    number = "1 study" if len(members) == 1 else f"{len(members)} studies"
    console.print(f"all is well with {number}")
    print_warnings(map(member_study, members), console)
