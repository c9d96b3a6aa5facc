"""The views of the command ``config``: all values as YAML, a key in words, the JSON schema."""

import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from study.config.json_schema import json_schema_text, modeline
from study.config.reference import Key, list_keys, short_baselines
from study.config.schema import StudyConfig
from study.config.search_section import AUTO
from study.config.shipped import value_at
from study.config.sweep import is_sweep, load_sweep
from study.config.yaml_text import commented_yaml, yaml_on_one_line
from study.errors import ConfigError, did_you_mean
from study.process.terminal_table import print_sentences
from study.workflow.lookup import find_config_and_overrides
from study.workflow.resolved_config import resolve_config, with_sites_of_backbone


def print_configuration(options: Namespace) -> None:
    """Print what the options of the command ask for.

    Raises:
        ConfigError: the configuration or the key does not exist, or has faults.
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
    if options.explain is not None:
        explain(options.explain, configs, source.stem, options.console)
        return
    if len(configs) > 1:
        raise ConfigError(
            f"{source} stands for {len(configs)} studies; allowed is one: set each key of its "
            "`sweep` to one value, such as data.dataset=eurosat"
        )
    command = shlex.join(["clipfit-study", "config", *options.arguments])
    print(modeline() + resolved_yaml(configs[0], command), end="")


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


def explain(wanted: str, configs: Sequence[StudyConfig], title: str, console: Console) -> None:
    """Print what a key or each key of a section means.

    Args:
        wanted: the key with dots.
        configs: the configurations whose value is printed, where there is one.
        title: the name of their file.
        console: where it is printed.

    Raises:
        ConfigError: there is no such key; the message names the nearest.
    """
    described = wanted
    config = configs[0]
    match = re.match(r"search\.baselines\.([^.]+)", wanted)
    if match and match[1] in config.search.baselines:
        peer = getattr(config.search.baselines[match[1]], "peer", None)
        form = peer.upper() if isinstance(peer, str) else "LABEL"
        described = f"search.baselines.{form}{wanted[match.end() :]}"
    for key in _find_keys(described):
        name = key.name.replace(described, wanted, 1)
        print_sentences(console, f"{name}: {key.meaning}")
        print_sentences(console, f"  allowed: {key.allowed}")
        default = key.default if key.default is not None else "none, it is required"
        print_sentences(console, f"  default: {default}")
        for value in _value(config, name):
            if len(configs) == 1:
                print_sentences(console, f"  in {title}: {yaml_on_one_line(value)}")


def _find_keys(wanted: str) -> list[Key]:
    """Return the key of a name, and those below it.

    Raises:
        ConfigError: there are none.
    """
    keys = list_keys()
    below = [key for key in keys if f"{key.name}.".startswith(f"{wanted}.")]
    if not wanted.startswith("search.baselines"):  # each form of an entry has a dozen keys
        below = [key for key in below if not key.name.startswith("search.baselines.")]
    if below:
        return below
    names = [key.name for key in keys]
    sections = {name.rpartition(".")[0] for name in names if "." in name}
    hint = did_you_mean(wanted, [*names, *sections])
    of_another_section = [name for name in names if name.endswith(f".{wanted}")]
    if of_another_section:
        hint = f" (did you mean '{of_another_section[0]}'?)"
    raise ConfigError(f"no key '{wanted}'{hint}; configs/README.md lists all keys")


def _value(config: StudyConfig, key: str) -> list[Any]:
    """Return the value of a key in a list, which is empty where the configuration has none."""
    try:
        return [value_at(config, key)]
    except (KeyError, TypeError):  # of a section that is null
        return []
