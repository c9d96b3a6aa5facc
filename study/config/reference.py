"""Every key of a configuration with its meaning, taken from the schema."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from study.config.schema import StudyConfig


class Key(NamedTuple):
    """A key of a configuration."""

    name: str
    """The key with dots; LABEL stands for a label, and that of another method is its name."""
    field: FieldInfo
    """The field of the section that the key sets."""

    @property
    def meaning(self) -> str:
        """What the key sets, with its unit, as Markdown on one line in the words of YAML."""
        text = " ".join((self.field.description or "").split())
        return text.replace("``", "`").replace("None", "`null`")


def list_keys() -> list[Key]:
    """Return every key, in the order of the schema."""
    return list(_keys("", StudyConfig))


def _keys(prefix: str, section: type[BaseModel]) -> Iterator[Key]:
    """Yield each of a section's keys, and the keys of sections in it."""
    for name, field in section.model_fields.items():
        types = _types_in(field.annotation)
        inner = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if field.annotation not in inner:  # a section has keys alone
            yield Key(f"{prefix}{name}", field)
        for kind in dict.fromkeys(inner):
            key = name
            if get_origin(field.annotation) is dict:
                method = kind.model_fields.get("method")
                key += f".{method.default.upper() if method else 'LABEL'}"
            yield from _keys(f"{prefix}{key}.", kind)


def _types_in(annotation: Any) -> list[Any]:
    """Return the types that an annotation is made of."""
    arguments = get_args(annotation)
    if not arguments:
        return [annotation]
    return [kind for argument in arguments for kind in _types_in(argument)]
