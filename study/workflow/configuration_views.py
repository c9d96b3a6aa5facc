"""The views of the command ``config``: all values as YAML, the JSON schema."""

import re
import shlex
from argparse import Namespace
from typing import Any

from rich.console import Console

from study.config.json_schema import json_schema_text
from study.config.reference import list_keys, short_baselines
from study.config.schema import StudyConfig
from study.config.search_section import AUTO
from study.config.shipped import value_at
from study.config.sweep import is_sweep, load_sweep
from study.config.yaml_text import commented_yaml
from study.errors import ConfigError
from study.workflow.lookup import find_config_and_overrides
from study.workflow.resolved_config import resolve_config, with_sites_of_backbone


def print_configuration(options: Namespace) -> None:
    """Print what the options of the command ask for.

    Raises:
        ConfigError: the configuration does not exist, or has faults.
    """
    if options.schema:
        if options.arguments:
            raise ConfigError("--schema is of all configurations; allowed without further words")
        print(json_schema_text(), end="")
        return
    source, overrides = find_config_and_overrides(options.arguments)
    if is_sweep(source):
        members = load_sweep(source, overrides)
        configs = [with_sites_of_backbone(member.config) for member in members]
    else:
        configs = [resolve_config(source, overrides, Console(stderr=True))]
    if len(configs) > 1:
        raise ConfigError(
            f"{source} stands for {len(configs)} studies; allowed is one: set each key of its "
            "`sweep` to one value, such as data.dataset=eurosat"
        )
    command = shlex.join(["clipfit-study", "config", *options.arguments])
    print(resolved_yaml(configs[0], command), end="")


def resolved_yaml(config: StudyConfig, command: str) -> str:
    """Return all values of a configuration as YAML, which says what ``null`` and ``auto`` mean.

    Args:
        config: the configuration.
        command: the command that prints it, which is named at the beginning.
    """
    comments = {}
    for key in list_keys():
        value = _value(config, key.name)
        if value not in ([None], [AUTO]):
            continue
        word = f"`{value[0] or 'null'}`"
        sentences = re.split(r"(?<=\.) ", key.meaning)
        comments[key.name] = " ".join(text for text in sentences if word in text)
    values = config.model_dump(mode="json")
    values["search"]["baselines"] = short_baselines(config)
    return commented_yaml(values, comments, command)


def _value(config: StudyConfig, key: str) -> list[Any]:
    """Return the value of a key in a list, which is empty where the configuration has none."""
    try:
        return [value_at(config, key)]
    except (KeyError, TypeError):  # of a section that is null
        return []
