"""Run a study: ``python study/run.py [CONFIG] [section.field=value …]``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import re
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from study.config.loading import ConfigFaults
    from study.config.sweep import Member
    from study.storage.ledger import StudyFolder

MARK = Path("method", "subsets.py")
"""A file next to this script in the package, but not in the home folder to which Ray copies it."""
EXAMPLES = """\
examples:
  python study/run.py                                   the embedded study, a few minutes
  python study/run.py configs/quickstart.yaml search.trials=40 seed=1
  python study/run.py base_to_new name=letters          a configuration by name
  python study/run.py base_to_new --check               look at everything, start nothing
  python study/run.py paper/few_shot data.root=DATA     several studies from one file, and tables
  python study/run.py --resume letters                  go on with an interrupted study
  python study/run.py --extend letters search.trials=+50    more trials for a finished study
  python study/run.py --status letters                  what is done, running and best
  python study/run.py --sync letters                    send to MLflow what it missed or lost
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 after a fault that the user can fix."""
    parsed = _parser().parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from study.errors import InterruptedStudyError, StudyError, redacted_text

    try:
        return _run(parsed)
    except StudyError as error:
        print(f"error: {redacted_text(str(error))}", file=sys.stderr)
        return 130 if isinstance(error, InterruptedStudyError) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="study/run.py",
        description="Search which of CLIP's biases and LayerNorms to tune on a few images, and at "
        "which learning rates.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="CONFIG | key=value",
        help="a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and "
        "values that override it",
    )
    parser.add_argument("--check", action="store_true", help="validate everything, start nothing")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", metavar="NAME", help="go on with the study of this name")
    existing.add_argument("--extend", metavar="NAME", help="give it more trials, and go on")
    existing.add_argument("--status", metavar="NAME", help="show what is done, running and best")
    existing.add_argument("--sync", metavar="NAME", help="send a study's results to MLflow")
    return parser


def _run(parsed: argparse.Namespace) -> int:
    from rich.console import Console

    from study.config.loading import ConfigFaults, load_config
    from study.config.sweep import is_sweep, load_sweep
    from study.errors import ConfigError
    from study.storage.ledger import StudyFolder
    from study.workflow.resumption import resumed_config

    console = Console() if sys.stdout.isatty() else Console(width=120)
    named = [a for a in parsed.arguments if "=" not in a]
    overrides = [a for a in parsed.arguments if "=" in a]
    existing = parsed.resume or parsed.extend or parsed.status or parsed.sync
    if len(named) > (0 if existing else 1):
        raise ConfigError(f"one configuration at most, got {', '.join(named)}")
    try:
        if existing:
            folder = _existing_folder(existing, overrides)
            config = resumed_config(folder, [] if parsed.extend else overrides)
        else:
            source = find_config(
                named[0] if named else os.environ.get("STUDY_CONFIG") or "quickstart"
            )
            if is_sweep(source):
                return _run_sweep(load_sweep(source, overrides), console, check=parsed.check)
            config = load_config(source, overrides)
            config = config.model_copy(update={"name": config.name or _unique_name(source)})
            folder = StudyFolder(config.storage / str(config.name))
    except ConfigFaults as faults:
        raise _with_remaining_faults(faults, resuming=bool(existing)) from None
    if parsed.check:
        from study.trial.study import Study
        from study.workflow.check import caution, check_study

        check_study(Study(config, folder), resuming=bool(existing))
        console.print("all is well: configuration, data, backbone, storage and tracking server")
        caution([config], console)
    elif parsed.status:
        from study.trial.study import Study
        from study.workflow.status import render_status, study_status

        console.print(render_status(study_status(Study(config, folder))), highlight=False)
    elif parsed.sync:
        from study import tracking
        from study.trial.study import Study
        from study.workflow.run_study import write_outputs

        with folder.locked():
            tracker = tracking.named(config.tracking.tracker)
            synced = tracker.sync(Study(config, folder), lambda: write_outputs(folder))
        again = f", {synced.again} of them sent again" if synced.again else ""
        console.print(f"{synced.trials} trials of {folder.name} are in {tracker.title}{again}")
    else:
        from study.workflow.run_study import run_study

        if parsed.extend:
            from study.selection.extension import extend
            from study.trial.study import Study

            with folder.locked():
                config = extend(Study(config, folder), overrides)
        run_study(config, folder, console, resume=bool(existing))
    return 0


def _run_sweep(members: Sequence[Member], console: Console, *, check: bool) -> int:
    if check:
        from study.workflow.check import caution
        from study.workflow.run_sweep import check_sweep

        check_sweep(members)
        console.print(f"all is well with {len(members)} studies")
        caution([member.config for member in members], console)
    else:
        from study.workflow.run_sweep import run_sweep

        run_sweep(members, console)
    return 0


def _unique_name(source: Path) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    return f"{stem}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _with_remaining_faults(faults: ConfigFaults, *, resuming: bool) -> ConfigFaults:
    """Return the faults, with those that a check of the valid sections finds as well."""
    from study.config.loading import ConfigFaults
    from study.storage.ledger import StudyFolder
    from study.trial.study import Study
    from study.workflow.check import all_faults

    rest = faults.rest
    if rest is None:
        return faults
    sections = {fault.partition(":")[0].partition(".")[0] for fault in faults.faults}
    folder = StudyFolder(rest.storage / (rest.name or secrets.token_hex(8)))
    found = all_faults(
        Study(rest, folder), resuming=resuming, passing_over=sections, replaced=faults.replaced
    )
    return ConfigFaults(faults.source, [*faults.faults, *found], rest, faults.replaced)


def find_config(name: str) -> Path:
    """Return the path of a configuration, given as a path or as the name of a shipped one.

    A folder of configurations counts as one too.

    Raises:
        ConfigError: it does not exist; the message lists the shipped ones.
    """
    import study
    from study.errors import ConfigError

    package = Path(study.__file__ or "").parent
    folders = [package.parent / "configs", package / "configs"]
    places = [(folder / name, folder / f"{name}.yaml", folder.parent / name) for folder in folders]
    for candidate in (Path(name), *itertools.chain(*places)):
        with contextlib.suppress(OSError):  # a name that no file can have
            if candidate.is_file() or (candidate.is_dir() and any(candidate.glob("*.yaml"))):
                return candidate
    shipped = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for path in folder.rglob("*.yaml")
    )
    raise ConfigError(f"no configuration '{name}'; by name there are {', '.join(shipped)}")


def _existing_folder(name: str, overrides: Sequence[str]) -> StudyFolder:
    from study.config.loading import parse_overrides
    from study.config.schema import NAME, default_storage
    from study.errors import ConfigError
    from study.storage.ledger import StudyFolder

    storage = Path(str(parse_overrides(overrides).get("storage") or default_storage()))
    folder = StudyFolder(storage / name)
    there: list[str] = []
    with contextlib.suppress(OSError):  # a name that no folder can have
        if re.match(NAME, name) and folder.exists():
            return folder
        there = sorted(path.parent.name for path in storage.glob("*/study.yaml"))
    raise ConfigError(
        f"no study '{name}' in {storage}; there are {', '.join(there) or 'none'}"
        " (storage=FOLDER looks elsewhere)"
    )


def _leave_package_off_the_path() -> None:
    """Remove study/ from ``sys.path``, where Python puts it first when it runs this script.

    A module of this package could otherwise replace a library of the same name.
    """
    folder = Path(__file__).resolve().parent
    if (folder / MARK).exists() and Path(sys.path[0] or ".").resolve() == folder:
        sys.path.pop(0)


if __name__ == "__main__":
    _leave_package_off_the_path()
    sys.exit(main())
