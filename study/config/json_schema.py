"""The JSON schema of configuration files, with which editors complete and explain keys.

It has the types of single values. Rules between values, and what data and machines allow, are
checked by `study.config.rules` and ``--check``. Keys with dots are not completed.
"""

from study.config.schema import StudyConfig
from study.config.sweep import Sweep
from study.storage.result_folder import FORMAT, KEY, JsonObject


def json_schema() -> JsonObject:
    """Return the JSON schema of a file: one study, or a sweep."""
    schema: JsonObject = StudyConfig.model_json_schema()
    sweep = Sweep.model_json_schema()
    schema["properties"] |= {KEY: {"const": FORMAT, "description": "The format."}}
    schema["properties"] |= sweep["properties"]
    schema["$defs"] |= sweep["$defs"]
    schema["patternProperties"] = {r"\.": {}}
    baselines = schema["$defs"]["SearchConfig"]["properties"]["baselines"]
    for entry in baselines["patternProperties"].values():
        entry["oneOf"].append({"type": "null"})  # an entry of the default may be left out
    return schema
