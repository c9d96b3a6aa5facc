"""The command ``init``: a commented configuration for a folder or table of images."""

import math
import os
import re
import shlex
from argparse import Namespace
from pathlib import Path

from study.config.loading import build_config
from study.config.shipped import shipped_file
from study.config.wording import override_texts
from study.config.yaml_text import commented_yaml
from study.config.yaml_values import Values, parse_overrides, put_value, read_values
from study.data.datasets import DATASET_NAMES
from study.data.records import is_text
from study.errors import ConfigError
from study.process.table_files import read_table
from study.process.terminal_table import print_sentences, print_unwrapped
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import StudyFaults, find_faults
from study.workflow.estimate import estimate
from study.workflow.resolved_config import unfit_peers
from study.workflow.suited_values import (
    SHORTEST,
    Choices,
    describe_images,
    suited_plans,
    suited_to_machine,
)

APART = ("backbone", "resources", "storage", "name", "tracking", "RAY_ADDRESS")
"""The beginnings of the paths of faults that are not of the images; ``--check`` finds these."""
MARGIN = 1.5
"""How many times the measured time of a search its limit is."""
HEADER = "`clipfit-study config` prints all keys with their values."
"""The comment at the beginning."""


def write_configuration(options: Namespace) -> None:
    """Write a configuration for the images of a folder or table, and print how to run it.

    Raises:
        StudyError: the file is there already, the checkpoint cannot be had, or the images cannot
            be read or are too few.
    """
    if options.out.exists():
        raise ConfigError(f"{options.out} exists; allowed is a new file: --out FILE.yaml")
    study, choices, values = _find_study(options)
    if options.estimate and "search.minutes" in choices:
        unlimited = study.config.with_section("search", minutes=None)
        measured = estimate(study.with_config(unlimited))
        minutes = math.ceil(MARGIN * measured.search / 60)
        values["search"]["minutes"] = max(minutes, SHORTEST)
        reason = f"a limit of the search, above what is measured: {measured}"
        choices["search.minutes"] = (None, reason)
    reasons = read_table(__file__) | {key: reason for key, (_, reason) in choices.items()}
    text = commented_yaml(values, reasons, HEADER)
    try:
        with options.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"{options.out} cannot be written: {error.strerror}") from error
    print_sentences(options.console, f"{options.out}: {describe_images(study.dataset)}")
    command = f"clipfit-study run {shlex.quote(str(options.out))}"
    print_unwrapped(options.console, f"  {command} --check --images --estimate\n  {command}")


def _dataset_name(root: Path) -> str:
    """Return a name for the images of a folder or table that is no dataset's of this package."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", root.stem).strip("-").lower()
    if not name or name in DATASET_NAMES:
        return "photos"
    return name


def _find_study(options: Namespace) -> tuple[Study, Choices, Values]:
    """Return the first plan that is possible: its study, its choices, and the values of its file.

    Raises:
        StudyError: none is possible, or the checkpoint or the images cannot be read.
    """
    # Without `..`, and with the links that the user has set.
    root = Path(os.path.abspath(options.images))  # noqa: PTH100
    if not is_text(str(root)):
        raise ConfigError(f"the name of {str(root)!r} is no UTF-8; rename it")
    texts = override_texts(options.arguments)
    given: Values = {"data.dataset": _dataset_name(root), "data.root": str(root)}
    given |= parse_overrides(options.arguments)
    machine = suited_to_machine()
    changes = {key: value for key, (value, _) in machine.items()} | given
    first = build_config({}, options.images, changes, texts)
    study = Study(first, StudyFolder(first.storage / "init"))
    found = {"data.root": (None, describe_images(study.dataset))}
    _ = study.architecture  # the images are read, and the checkpoint can be had
    faults: list[str] = []
    for base, plan in suited_plans(study.dataset, first.backbone.name):
        choices = {key: choice for key, choice in (machine | plan).items() if key not in given}
        values: Values = {"data": {"dataset": "", "root": ""}}
        file = shipped_file(base)
        if file:
            shipped = read_values(file)
            values = shipped | {"data": values["data"] | shipped["data"]}
        changes = {key: value for key, (value, _) in choices.items()} | given
        for key, value in changes.items():
            put_value(values, key, value)
        config = build_config(values, options.images, overrides=texts)
        for label in unfit_peers(config, file, options.arguments):
            put_value(values, f"search.baselines.{label}", None)
        study = study.with_config(build_config(values, options.images, overrides=texts))
        faults = find_faults(study, resuming=False, skipped=APART)
        if not faults:
            return study, choices | found, values
    raise StudyFaults(faults)
