"""Every key of a configuration with its default and its meaning, taken from the schema."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from study.config.methods import OtherMethod
from study.config.schema import StudyConfig
from study.config.section import types_in
from study.config.yaml_text import yaml_on_one_line


class Key(NamedTuple):
    """A key of a configuration."""

    name: str
    """The key with dots; LABEL stands for a label, and that of another method is its name."""
    default: str | None
    """The default as YAML on one line; None if the key is required."""
    meaning: str
    """What it sets, with its unit, on one line."""


def list_keys() -> list[Key]:
    """Return every key, in the order of the schema."""
    return list(_keys("", StudyConfig))


def short_baselines(config: StudyConfig) -> dict[str, Any]:
    """Return the baselines of a configuration without the values that are their defaults.

    One of the default's that it leaves out is None.
    """
    entries: dict[str, Any] = config.model_dump(mode="json")["search"]["baselines"]
    for label, baseline in config.search.baselines.items():
        entries[label] = baseline.model_dump(mode="json", exclude_defaults=True)
        if isinstance(baseline, OtherMethod):
            entries[label] = {"method": baseline.method, **entries[label]}
    return entries


def _keys(prefix: str, section: type[BaseModel]) -> Iterator[Key]:
    """Yield each of a section's keys, and the keys of sections in it."""
    for name, field in section.model_fields.items():
        types = list(types_in(field.annotation))
        inner = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if field.annotation not in inner:  # a section has keys alone
            default = None if field.is_required() else yaml_on_one_line(_default(name, field))
            yield Key(f"{prefix}{name}", default, _meaning(field))
        for kind in dict.fromkeys(inner):
            key = name
            if get_origin(field.annotation) is dict:
                method = kind.model_fields.get("method")
                key += f".{method.default.upper() if method else 'LABEL'}"
            yield from _keys(f"{prefix}{key}.", kind)


def _default(name: str, field: FieldInfo) -> Any:
    """Return a field's default as JSON has it."""
    if name == "storage":
        return "runs"  # whatever the environment says
    if name == "baselines":
        return short_baselines(StudyConfig())
    default = field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def _meaning(field: FieldInfo) -> str:
    """Return the docstring of a key as Markdown on one line, in the words of YAML."""
    text = " ".join((field.description or "").replace("``", "`").split())
    choices = [kind for kind in types_in(field.annotation) if isinstance(kind, str)]
    named = all(f"`{choice}`" in text for choice in choices)
    if len(choices) > 1 and not named and get_origin(field.annotation) is Literal:
        text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    return text.replace("None", "`null`")
