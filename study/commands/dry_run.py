"""The check of everything that a study needs (``--check``), or its run."""

from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console

from study.commands.announcement import print_rows, study_rows
from study.commands.check import check_study
from study.commands.configured_study import naming_overrides
from study.commands.image_check import check_images
from study.commands.start_warnings import print_warnings
from study.config.sweep import Member
from study.errors import StudyError
from study.process.ctrl_c import exit_at_ctrl_c
from study.process.terminal_table import print_sentences
from study.search.machine import unjoined_cluster
from study.trial.study import Study


def check_or_run(
    study: Study, overrides: Sequence[str], options: Namespace, *, resume: bool
) -> None:
    """Check a study if ``--check`` asks for that, and run it otherwise.

    Args:
        study: the study.
        overrides: those of the command line, which are named in faults.
        options: those of the command.
        resume: whether the study exists and is to be continued.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with naming_overrides(overrides):
        if options.check:
            dry_run(study, options, resuming=resume)
            return
        # Ray and Optuna take seconds to import, and a check does without them.
        with exit_at_ctrl_c():
            from study.commands.run_study import run_study
        run_study(study, options.console, resume=resume)


def dry_run(study: Study, options: Namespace, *, resuming: bool) -> None:
    """Check everything that a study needs, print what it would work on, and start nothing.

    Args:
        study: the study.
        options: those of the command.
        resuming: whether the study may already exist.

    Raises:
        StudyError: the study cannot start.
    """
    console = options.console
    check_study(study, resuming=resuming)
    print_rows(study_rows(study), console)
    try:
        pixels = check_images(study, console, every=options.images)
    except StudyError:  # the warnings say more about faulty images
        print_warnings([study], console)
        raise
    if options.estimate:
        from study.commands.estimate import estimate

        options.estimate = estimate(study)
        print_sentences(console, str(options.estimate))
    console.print("all is well: configuration, data, backbone, storage and tracking server")
    print_warnings([study], console, pixels)
    hint = unjoined_cluster()
    if hint is not None:
        print_sentences(console, hint, "yellow")


def dry_run_of_sweep(members: Sequence[Member], console: Console) -> None:
    """Check everything that the studies of a sweep need, and start nothing.

    Raises:
        ConfigError: a study cannot start.
    """
    # Ray and Optuna take seconds to import, and a single study does without them here.
    from study.commands.run_sweep import check_sweep, member_study

    check_sweep(members)
    text = f"{len(members)} studies"
    if len(members) == 1:
        text = "1 study"
    console.print(f"all is well with {text}")
    print_warnings(map(member_study, members), console)
