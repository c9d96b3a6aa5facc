"""What the commands that run a study do once their words are known to name something.

It takes seconds to import, so `study.workflow.commands` finds the faults of words before.
"""

import json
import re
import secrets
import time
from argparse import Namespace
from dataclasses import asdict
from operator import methodcaller
from pathlib import Path

from rich.console import Console

from study import tracking
from study.config.loading import OVERRIDES, ConfigFaults, load_config
from study.config.sweep import is_sweep, load_sweep
from study.config.wording import named_with, texts_of_overrides
from study.errors import StudyError
from study.process.ctrl_c import leaving_at_ctrl_c
from study.process.garbage import let_go
from study.process.terminal_table import print_sentences
from study.results.study_results import read_results
from study.search.machine import unjoined_cluster
from study.selection.candidates import extend, extended_config
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import StudyFaults, all_faults, check_study, for_backbone, resumed_config
from study.workflow.listing import print_resume_commands
from study.workflow.start_warnings import caution
from study.workflow.status import INTERRUPTED_STATE, render_status, study_status


def carry_out(options: Namespace, target: StudyFolder | Path, overrides: list[str]) -> None:
    """Run a study or a sweep, or do what a command says with a study that exists.

    Args:
        options: what the user gave.
        target: the study's folder, or the configuration of a new study or sweep.
        overrides: those of the configuration.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    try:
        _carry_out(options, target, overrides)
    except StudyFaults as found:
        raise StudyFaults(named_with(texts_of_overrides(overrides), found.faults)) from None


def _carry_out(options: Namespace, target: StudyFolder | Path, overrides: list[str]) -> None:
    if isinstance(target, Path) and is_sweep(target):
        _run_sweep(target, overrides, options)
        return
    resuming = isinstance(target, StudyFolder)
    try:
        study = _study(options, target, overrides)
    except ConfigFaults as faults:
        raise _with_remaining_faults(faults, overrides, resuming=resuming) from None
    if options.check:
        _check(study, options, resuming=resuming)
    elif options.command == "status":
        _show_status(study.folder, options)
    elif options.command == "sync":
        _send(study, options.console)
    else:
        _run(study, options, overrides, resuming=resuming)


def _study(options: Namespace, target: StudyFolder | Path, overrides: list[str]) -> Study:
    """Return the study that is meant: that of a folder, or a new one.

    Raises:
        StudyError: its configuration has faults.
    """
    if isinstance(target, StudyFolder):
        changes = [] if options.command == "extend" else overrides
        return Study(resumed_config(target, changes), target)
    config = for_backbone(load_config(target, overrides))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", target.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    config = config.model_copy(update={"name": config.name or unique})
    return Study(config, StudyFolder(config.storage / str(config.name)))


def _show_status(folder: StudyFolder, options: Namespace) -> None:
    status = study_status(read_results(folder.path))
    if options.json:
        print(json.dumps(asdict(status), indent=2, default=methodcaller("flat")))
        return
    options.console.print(render_status(status), highlight=False)
    if status.state == INTERRUPTED_STATE:
        print_resume_commands(options.console, [folder])


def _run(study: Study, options: Namespace, overrides: list[str], *, resuming: bool) -> None:
    """Run a study, extended before if asked."""
    # Ray and Optuna take seconds to import, and what stands above does without them.
    with leaving_at_ctrl_c():
        from study.workflow.run_study import run_study

    config, folder = study.config, study.folder
    if options.command == "extend":
        with folder.locked():
            config = extended_config(study, overrides)
            # A study that cannot go on now stays as finished as it is.
            check_study(Study(config, folder), resuming=True)
            extend(study, config)
    run_study(config, folder, options.console, resume=resuming)


def _send(study: Study, console: Console) -> None:
    """Send to the tracker what it lacks of a study."""
    with leaving_at_ctrl_c():
        from study.workflow.outputs import write_outputs

    let_go()
    folder = study.folder
    with folder.locked(briefly=True):
        tracker = tracking.named(study.config.tracking.trackers)
        synced = tracker.sync(study, lambda: write_outputs(folder))
    again = f", {synced.again} of them sent again" if synced.again else ""
    console.print(f"{synced.trials} trials of {folder.name} are in {tracker.title}{again}")


def _check(study: Study, options: Namespace, *, resuming: bool) -> None:
    """Look at everything, tell what is there, and start nothing."""
    from study.workflow.announcement import tell
    from study.workflow.image_check import check_images

    check_study(study, resuming=resuming)
    let_go()
    tell(study, options.console)
    try:
        pixels = check_images(study, options.console, every=options.images)
    except StudyError:  # of a sample of the images; this tells more
        caution([study], options.console)
        raise
    if options.estimate:
        from study.workflow.estimate import estimate

        print_sentences(options.console, str(estimate(study)))
    options.console.print("all is well: configuration, data, backbone, storage and tracking server")
    caution([study], options.console, pixels)
    beside = unjoined_cluster()
    if beside is not None:
        print_sentences(options.console, beside, "yellow")


def _run_sweep(source: Path, overrides: list[str], options: Namespace) -> None:
    from study.workflow.run_sweep import check_sweep, run_sweep, study_of

    members = load_sweep(source, overrides)
    if options.check:
        check_sweep(members)
        number = "1 study" if len(members) == 1 else f"{len(members)} studies"
        options.console.print(f"all is well with {number}")
        caution(map(study_of, members), options.console)
    else:
        run_sweep(members, options.console)


def _with_remaining_faults(
    faults: ConfigFaults, overrides: list[str], *, resuming: bool
) -> ConfigFaults:
    """Return the faults, with those that a check of the valid sections finds as well."""
    if (rest := faults.rest) is None:
        return faults
    # A default stands in for a value of the wrong kind, and tells nothing of its section. Baselines
    # that are valid, but not those that are needed, hide no fault of the rest of the search.
    kept = {"search"} - {place.partition(".")[0] for place in faults.replaced}
    sections = {fault.partition(":")[0].partition(".")[0] for fault in faults.faults} - kept
    study = Study(rest, StudyFolder(rest.storage / (rest.name or secrets.token_hex(8))))
    found = all_faults(study, resuming=resuming, passing_over=sections, replaced=faults.replaced)
    found = named_with(texts_of_overrides(overrides), found)
    source = "the study" if found and faults.source == OVERRIDES else faults.source
    return ConfigFaults(source, [*faults.faults, *found], rest, faults.replaced)
