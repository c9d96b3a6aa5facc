"""The JSON schema of configuration files, with which editors complete, explain and check them.

It has the types of single values. Rules between values, and what data and machines allow, are
checked by `study.config.rules` and ``--check``.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from study.config.reference import Schema, markdown
from study.config.schema import StudyConfig
from study.storage.file_format import FORMAT, KEY
from study.storage.ledger_files import JsonObject

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The latest dialect that the YAML language server knows."""
_SWEEP = {
    "sweep": {
        "allOf": [{"$ref": "#/$defs/axes"}],
        "description": "Keys with dots, each with a list of values: a study for each combination.",
    },
    "exceptions": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"for": {"$ref": "#/$defs/axes"}, "set": {"$ref": "#/$defs/values"}},
            "patternProperties": {},
            "additionalProperties": False,
            "required": ["for", "set"],
        },
        "description": "Values that some studies of a sweep have in place of others.",
    },
}
"""The keys of a sweep's file; the schemas of axes and values are made of the keys of a study."""


class _WithoutTitles(GenerateJsonSchema):
    """A generator that does not repeat the name of each key as its title."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False."""
        return False


def json_schema() -> JsonObject:
    """Return the JSON schema of a file: one study, or a sweep."""
    schema: JsonObject = _for_editors(
        StudyConfig.model_json_schema(schema_generator=_WithoutTitles)
    )
    keys = {}
    mappings = []
    for key, pointer, field in _dotted_keys("", "#", schema, schema["$defs"]):
        keys[key] = {"$ref": pointer}
        if "'type': 'object'" in str(field):
            mappings.append(re.escape(key))
    entry_of_mapping = rf"^({'|'.join(mappings)})\."
    dotted = {key: reference for key, reference in keys.items() if "." in key}
    axes = {key: _list_of(reference) for key, reference in keys.items()}
    schema["$defs"]["values"] = _section(keys, {entry_of_mapping: {}})
    schema["$defs"]["axes"] = _section(axes, {entry_of_mapping: _list_of({})})
    schema["patternProperties"] = {entry_of_mapping: {}}
    number = {"const": FORMAT, "description": "The number of the format."}
    schema["properties"] |= {**dotted, KEY: number, **_SWEEP}
    return {"$schema": DIALECT, **schema}


def json_schema_text() -> str:
    """Return the JSON schema as the text of its file."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _for_editors(node: Any) -> Any:
    """Return a part of pydantic's schema in the dialect and the words that editors show."""
    if isinstance(node, list):
        return [_for_editors(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:  # beside which the dialect ignores everything
        return {"$ref": node["$ref"]}
    changed = {name: _for_editors(inner) for name, inner in node.items()}
    if isinstance(node.get("description"), str):
        changed["description"] = markdown(node["description"])
    if "prefixItems" in node:  # of a later dialect; all entries of our lists have one type
        changed["items"] = changed.pop("prefixItems")[0]
    if "patternProperties" in node:
        changed["additionalProperties"] = False
        for values in changed["patternProperties"].values():
            if "oneOf" in values:  # an entry of `search.baselines` may be left out
                values["oneOf"].append({"type": "null"})
    return changed


def _dotted_keys(
    prefix: str, pointer: str, section: Schema, named: Schema
) -> Iterator[tuple[str, str, Schema]]:
    """Yield each key of a section and of the sections in it, the pointer to its schema, and it."""
    for name, field in section["properties"].items():
        yield f"{prefix}{name}", f"{pointer}/properties/{name}", field
        inner = [option.get("$ref") for option in (field, *field.get("anyOf", ()))]
        for reference in filter(None, inner):
            part = named[reference.removeprefix("#/$defs/")]
            yield from _dotted_keys(f"{prefix}{name}.", reference, part, named)


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": items}


def _section(properties: Schema, patterns: Schema) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": False,
    }
