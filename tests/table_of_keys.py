"""The list of every key of a configuration, made from the schema for readers."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings

UNITS = {
    **{"data.shots": "images per class", "data.val_shots": "images per class"},
    **{"training.batch_size": "images", "training.eval_batch_size": "images"},
    **{"training.epochs": "epochs", "search.asha.grace_period": "epochs"},
    **{"search.trials": "trials", "search.tuned_share": "fraction of the trials"},
    "search.minutes": "minutes",
    **{"confirm.runners_up": "configurations", "refit.average": "configurations"},
    "ablation.width": "layers",
    **{"resources.cpus_per_trial": "CPU cores", "resources.gpus_per_trial": "GPUs"},
    **{"resources.max_concurrent": "trials", "resources.max_failures": "restarts"},
    "resources.max_epoch_seconds": "seconds",
}
"""The unit of each key that has one."""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
WORDS = {"string": "text"}


def reference() -> str:
    """Return a Markdown list of every key, with its type and unit, default and meaning."""
    whole = StudyConfig.model_json_schema()
    minimal = StudyConfig.model_validate({"storage": "runs", "ablation": {"design": "only_one"}})
    defaults = minimal.model_dump(mode="json")
    # A baseline has a dozen keys, most of them at their own defaults.
    defaults["search"]["baselines"] = {
        label: baseline.model_dump(mode="json", exclude_defaults=True)
        for label, baseline in minimal.search.baselines.items()
    }
    return "".join(f"- {line}\n" for line in _lines("", whole, whole["$defs"], defaults))


def list_keys() -> list[str]:
    """Return every dotted key; the baseline of a peer has the peer's name for a label."""
    return [key.lower() for key in re.findall(r"^- `([\w.]+)`", reference(), re.MULTILINE)]


def _lines(
    prefix: str, section: Mapping[str, Any], named: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a line for each of a section's keys, and of the keys of sections in it.

    Args:
        prefix: what stands before each key.
        section: the JSON schema of the section.
        named: the JSON schemas of all sections, by the names of their classes.
        defaults: the default of each key that has one.
    """
    for name, field in section["properties"].items():
        key, default = f"{prefix}{name}", field.get("default", defaults.get(name))
        if (kind := _kind(field)) != "section":
            # In a list, YAML puts no end mark behind the value, which is to be on one line.
            value = yaml.safe_dump(
                [default], default_flow_style=True, sort_keys=False, width=math.inf
            )
            shown = f"default `{value.strip()[1:-1]}`"
            if name in section.get("required", ()):
                shown = "required"
            unit = f", {UNITS[key]}" if key in UNITS else ""
            meaning = " ".join(field["description"].replace("``", "`").split())
            meaning = re.sub(r"\bNone\b", "`null`", meaning)
            yield f"`{key}` ({kind}{unit}; {shown}): {meaning}"
        below = defaults.get(name) or {}
        if "LABEL" in kind:
            key, below = f"{key}.LABEL", TrialSettings(subset="none").model_dump(mode="json")
        places = {part: str(field).find(f"'#/$defs/{part}'") for part in named}
        for part in sorted((part for part in named if places[part] >= 0), key=places.__getitem__):
            peer = named[part]["properties"].get("peer", {}).get("const")
            inner = key.replace("LABEL", peer.upper()) if peer else key
            yield from _lines(f"{inner}.", named[part], named, below)


def _kind(field: Mapping[str, Any]) -> str:
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
        case {"type": "object", "propertyNames": {"enum": names}}:
            return f"mapping of {', '.join(f'`{name}`' for name in names)} to text"
        case {"type": "object", "additionalProperties": inner}:
            return f"mapping of kind to {_kind(inner)}"
        case {"type": "object", "patternProperties": inner}:
            return f"mapping of LABEL to {', '.join(map(_kind, inner.values()))}"
        case {"type": kind}:
            word = "path" if field.get("format") == "path" else WORDS.get(kind, kind)
            limits = [f"{sign} {field[bound]}" for bound, sign in BOUNDS.items() if bound in field]
            return f"{word} {', '.join(limits)}".strip()
    return "section"
