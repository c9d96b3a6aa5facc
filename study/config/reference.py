"""Every key of a configuration: its type, its default and its meaning, taken from the schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.config.yaml_text import yaml_on_one_line

UNITS = {
    "data.shots": "images per class",
    "data.val_shots": "images per class",
    "training.batch_size": "images",
    "training.eval_batch_size": "images",
    "training.epochs": "epochs",
    "search.asha.grace_period": "epochs",
    "search.trials": "trials",
    "search.minutes": "minutes",
    "test.runners_up": "configurations",
    "ablation.width": "layers",
    "resources.cpus_per_trial": "CPU cores",
    "resources.gpus_per_trial": "GPUs",
    "resources.max_concurrent": "trials",
    "resources.max_failures": "restarts",
    "resources.max_epoch_seconds": "seconds",
}
"""The unit of each key that has one."""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
WORDS = {"string": "text"}
Schema = Mapping[str, Any]
"""A JSON schema."""


class Key(NamedTuple):
    """A key of a configuration."""

    name: str
    """The key with dots; LABEL stands for a label, and that of a peer is the peer's name."""
    allowed: str
    """The type, the bounds and the unit."""
    default: str | None
    """The default as YAML on one line; None if the key is required."""
    meaning: str


def list_keys() -> list[Key]:
    """Return every key, in the order of the schema."""
    whole = StudyConfig.model_json_schema()
    minimal = StudyConfig.model_validate({"storage": "runs", "ablation": {"design": "only_one"}})
    defaults = minimal.model_dump(mode="json")
    defaults["search"]["baselines"] = short_baselines(minimal)
    return list(_keys("", whole, whole["$defs"], defaults))


def short_baselines(config: StudyConfig) -> dict[str, Any]:
    """Return the baselines of a configuration without the values that are their defaults.

    One of the default's that it leaves out is None.
    """
    entries: dict[str, Any] = config.model_dump(mode="json")["search"]["baselines"]
    for label, baseline in config.search.baselines.items():
        entries[label] = baseline.model_dump(mode="json", exclude_defaults=True)
    return entries


def _keys(
    prefix: str, section: Schema, named: Mapping[str, Schema], defaults: Mapping[str, Any]
) -> Iterator[Key]:
    """Yield each of a section's keys, and the keys of sections in it.

    Args:
        prefix: what stands before each key.
        section: the JSON schema of the section.
        named: the JSON schemas of all sections, by the names of their classes.
        defaults: the default of each key that has one.
    """
    for name, field in section["properties"].items():
        key = f"{prefix}{name}"
        kind = _kind(field)
        if kind != "section":
            allowed = kind
            if key in UNITS:
                allowed += f", {UNITS[key]}"
            default = None
            if name not in section.get("required", ()):
                default = yaml_on_one_line(field.get("default", defaults.get(name)))
            yield Key(key, allowed, default, markdown(field["description"]))
        below = defaults.get(name) or {}
        if "LABEL" in kind:
            key += ".LABEL"
            below = TrialSettings(subset="none").model_dump(mode="json")
        inner = re.findall(r"'#/\$defs/(\w+)'", str(field))
        for part in dict.fromkeys(inner):
            peer = named[part]["properties"].get("peer", {}).get("const")
            inner_key = key
            if peer:
                inner_key = key.replace("LABEL", peer.upper())
            yield from _keys(f"{inner_key}.", named[part], named, below)


def markdown(docstring: str) -> str:
    """Return the docstring of a key as Markdown on one line, in the words of YAML."""
    return re.sub(r"\bNone\b", "`null`", " ".join(docstring.replace("``", "`").split()))


def _kind(field: Schema) -> str:
    """Return the type of a JSON schema in words."""
    match field:
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(dict.fromkeys(map(_kind, options)))
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"prefixItems": items}:
            return f"[{', '.join(map(_kind, items))}]"
        case {"items": items}:
            return f"list of {_kind(items)}"
        case {"propertyNames": {"enum": names}, "additionalProperties": inner}:
            return f"mapping of {', '.join(f'`{name}`' for name in names)} to {_kind(inner)}"
        case {"type": "object", "patternProperties": inner}:
            return f"mapping of LABEL to {', '.join(map(_kind, inner.values()))}"
        case {"type": kind}:
            word = WORDS.get(kind, kind)
            if field.get("format") == "path":
                word = "path"
            limits = [f"{sign} {field[bound]}" for bound, sign in BOUNDS.items() if bound in field]
            return f"{word} {', '.join(limits)}".strip()
    return "section"
