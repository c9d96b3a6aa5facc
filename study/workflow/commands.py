"""The commands that run studies and look after them, each with the options that the user gave."""

import contextlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from argparse import Namespace
from dataclasses import asdict
from operator import methodcaller
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from study import tracking
from study.analysis.formatting import percent
from study.analysis.results import Results, read_results
from study.config.loading import (
    OVERRIDES,
    ConfigFaults,
    is_sweep,
    load_config,
    load_sweep,
    parse_overrides,
)
from study.config.schema import default_storage
from study.config.shipped import FOLDERS
from study.config.wording import named_with, texts_of_overrides
from study.errors import ConfigError, StudyError
from study.garbage import let_go, uncollected
from study.search.machine import unjoined_cluster
from study.selection.candidates import extend, extended_config
from study.storage.atomic import StorageError, with_retries
from study.storage.ledger import StudyFolder, studies
from study.storage.removal import name_aside
from study.trial.study import Study
from study.workflow.cautions import caution
from study.workflow.check import StudyFaults, all_faults, check_study, for_backbone, resumed_config
from study.workflow.status import Status, plain_table, render_status, study_status

SHOWN_SCORES = {
    "val_score": "validation %",
    "val_expected": "expect %",
    "test_score": "test %",
    "test_balanced": "balanced %",
}
"""What the list of studies calls the scores that it shows."""


def run(options: Namespace) -> None:
    """Run a study or a sweep, or do what an option says with a study that exists.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    overrides = [a for a in options.arguments if "=" in a]
    try:
        with uncollected():
            _run(options, overrides)
    except StudyFaults as found:
        raise StudyFaults(named_with(texts_of_overrides(overrides), found.faults)) from None


def _run(options: Namespace, overrides: list[str]) -> None:
    console = options.console
    named = [a for a in options.arguments if "=" not in a]
    existing = options.resume or options.extend or options.status or options.sync
    for option in ("images", "estimate"):
        if getattr(options, option) and not options.check:
            raise ConfigError(f"--{option} belongs to --check, which starts nothing")
    if len(named) > (0 if existing else 1):
        raise ConfigError(
            f"one configuration at most, got {', '.join(named)}; a value is set by key=value, as "
            "in search.trials=40"
        )
    try:
        if existing:
            folder = find_study(existing, parse_overrides(overrides).get("storage"))
            config = resumed_config(folder, [] if options.extend else overrides)
        else:
            source = find_config(
                named[0] if named else os.environ.get("STUDY_CONFIG") or "quickstart"
            )
            if is_sweep(source):
                _run_sweep(source, overrides, options)
                return
            config = for_backbone(load_config(source, overrides))
            stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
            unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
            config = config.model_copy(update={"name": config.name or unique})
            folder = StudyFolder(config.storage / str(config.name))
    except ConfigFaults as faults:
        raise _with_remaining_faults(faults, overrides, resuming=bool(existing)) from None
    if options.check:
        _check(Study(config, folder), options, resuming=bool(existing))
        return
    if options.status:
        status = study_status(read_results(folder.path))
        if options.json:
            print(json.dumps(asdict(status), indent=2, default=methodcaller("flat")))
        else:
            console.print(render_status(status), highlight=False)
        return
    # Ray and Optuna take seconds to import, and what stands above does without them.
    from study.analysis.chance import fix_chance
    from study.workflow.run_study import run_study, write_outputs

    if options.sync:
        let_go()
        with folder.locked(briefly=True):
            tracker = tracking.named(config.tracking.tracker)
            if folder.is_complete():  # a study of an earlier version has not said it yet
                fix_chance(folder)
            synced = tracker.sync(Study(config, folder), lambda: write_outputs(folder))
        again = f", {synced.again} of them sent again" if synced.again else ""
        console.print(f"{synced.trials} trials of {folder.name} are in {tracker.title}{again}")
        return
    if options.extend:
        with folder.locked():
            before = Study(config, folder)
            config = extended_config(before, overrides)
            # A study that cannot go on now stays as finished as it is.
            check_study(Study(config, folder), resuming=True)
            extend(before, config)
    run_study(config, folder, console, resume=bool(existing))


def _check(study: Study, options: Namespace, *, resuming: bool) -> None:
    """Look at everything, tell what is there, and start nothing."""
    from study.workflow.facts import tell
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

        options.console.print(f"{estimate(study)}", highlight=False, markup=False, soft_wrap=True)
    options.console.print("all is well: configuration, data, backbone, storage and tracking server")
    caution([study], options.console, pixels)
    beside = unjoined_cluster()
    if beside is not None:
        options.console.print(beside, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _run_sweep(source: Path, overrides: list[str], options: Namespace) -> None:
    from study.workflow.run_study import check_sweep, run_sweep, study_of

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


def find_config(name: str) -> Path:
    """Return the path of a configuration, given as a path or as the name of a shipped one.

    A folder of configurations counts as one too.

    Raises:
        ConfigError: it does not exist; the message lists the shipped ones.
    """
    places = (
        place
        for folder in FOLDERS
        for place in (folder / name, folder / f"{name}.yaml", folder.parent / name)
    )
    for candidate in (Path(name), *places) if name else ():  # an empty name is a folder for Path
        with contextlib.suppress(OSError):  # a name that no file can have
            if candidate.is_file() or (candidate.is_dir() and any(candidate.glob("*.yaml"))):
                return candidate
    shipped = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in FOLDERS
        for path in folder.rglob("*.yaml")
    )
    raise ConfigError(
        f"no configuration '{name}'; by name there are {', '.join(shipped)} (clipfit-study --help "
        "lists the commands)"
    )


def find_studies(options: Namespace) -> None:
    """Add the ``folder``, or the ``folders``, of the studies that a command names.

    Raises:
        ConfigError: there is no such study.
    """
    if getattr(options, "name", None):
        options.folder = find_study(options.name, options.storage)
    if "names" in options:
        own = [word for word in options.names if word.startswith("storage=")]
        storage = parse_overrides(own).get("storage")
        options.folders = [find_study(word, storage) for word in options.names if word not in own]


def find_study(name: str, storage: str | Path | None = None) -> StudyFolder:
    """Return the folder of a study.

    Args:
        name: the study's name in the storage, or the path to its folder.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        ConfigError: there is none; the message lists those in the storage.
    """
    storage = Path(str(storage or default_storage()))
    there: list[StudyFolder] = []
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # no folder can have this name
        for folder in map(StudyFolder, (storage / name, Path(name).resolve())):
            if folder.exists():
                return folder
        there = studies(storage)
    raise ConfigError(
        f"no study '{name}' in {storage}; there are "
        f"{', '.join(folder.name for folder in there) or 'none'} (storage=FOLDER looks elsewhere)"
    )


def list_studies(options: Namespace) -> None:
    """Print the studies of a storage, as a table or as JSON."""
    storage = options.storage or default_storage()
    rows = [describe(folder) for folder in studies(storage)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    cells = (
        [
            *(row["study"], row["state"], str(row["trials"])),
            *(percent(row[name]) for name in SHOWN_SCORES),
            *(decimal(row["bytes"]), f"{row['seconds'] / 86400:.1f}"),
        ]
        for row in rows
    )
    header = ("study", "state", "trials", *SHOWN_SCORES.values(), "size", "days old")
    count = "1 study" if len(rows) == 1 else f"{len(rows)} studies"
    options.console.print(f"{count} in {storage}", plain_table(header, cells), highlight=False)


def describe(folder: StudyFolder) -> dict[str, Any]:
    """Return what the list says of a study.

    Returns:
        The ``study``; its ``state``, which is that of `Status` or "damaged"; its number of
        ``trials``; the best ``val_score`` of the search, which is a maximum, and what to expect of
        it (``val_expected``); the mean ``test_score`` of the choice, and the same with the mean
        recall of the classes (``test_balanced``), as fractions; its size in ``bytes``, its age in
        ``seconds``; and for MLflow its ``study_id`` and where its winner is ``registered``. What
        there is not is None.
    """
    results: Results | None = None
    status: Status | None = None
    with contextlib.suppress(StudyError):
        results = read_results(folder.path)
        status = study_status(results)
    files: list[os.stat_result] = []
    for path in (Path(place, name) for place, _, names in os.walk(folder.path) for name in names):
        with contextlib.suppress(OSError):  # a study that runs may remove some meanwhile
            files.append(path.lstat())
    return {
        "study": folder.name,
        "state": status.state if status else "damaged",
        "trials": len(list(folder.path.glob("trials/*/config.json"))),
        "val_score": status.best[0].val_score if status and status.best else None,
        "val_expected": status.expected if status else None,
        "test_score": status.test_score if status else None,
        "test_balanced": status.balanced if status else None,
        "bytes": sum(file.st_size for file in files),
        "seconds": time.time() - min((file.st_mtime for file in files), default=time.time()),
        "study_id": results.identity.get("study_id") if results else None,
        "registered": results.registration.uri if results and results.registration else None,
    }


def delete(options: Namespace) -> None:
    """Show what a study holds, ask, and delete it.

    Raises:
        LedgerError: another process runs the study.
        ConfigError: there is no terminal to ask on.
        StorageError: some of its files could not be deleted.
    """
    path = options.folder.path.resolve()
    with options.folder.locked():
        row = describe(options.folder)
        print(
            f"{path}: {row['state']}, {row['trials']} trials, {decimal(row['bytes'])}\n"
            f"MLflow keeps its runs, with the tag study_id = '{row['study_id']}', and of its model "
            f"{row['registered'] or 'nothing'}. Delete those on MLflow's pages, or in Python by "
            "mlflow.MlflowClient(): delete_run(run_id), delete_model_version(model, version)."
        )
        if not options.yes:
            if not sys.stdin.isatty():
                raise ConfigError(
                    f"'{path.name}' is kept, since there is no terminal to ask on; --yes deletes "
                    "without a question"
                )
            print(f"delete '{path.name}'? [y/N] ", end="", flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                return
        aside = name_aside(path)
        with_retries(path, lambda: path.rename(aside))
    # After the lock, since a network file system keeps the folder of an open file.
    shutil.rmtree(aside, ignore_errors=True)
    if aside.exists():
        raise StorageError(f"some files could not be deleted; delete the folder {aside}")
