"""What pydantic finds wrong with a configuration, as faults: a key, its message and the value."""

from pydantic import BaseModel, ValidationError

from study.config.reference import list_keys
from study.config.yaml_text import short_repr
from study.errors import Fault, did_you_mean


def find_faults(error: ValidationError) -> list[Fault]:
    """Return each of pydantic's errors as a fault; an unknown key names the nearest known one."""
    faults = []
    known = [name for key in list_keys() for name in (key.name, key.name.rpartition(".")[0])]
    for found in error.errors(include_url=False):
        # Parts in brackets are no keys: they name the forms that a value may have.
        parts = [str(part) for part in found["loc"] if not str(part).startswith("[")]
        key = ".".join(parts)
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden" and key in known:
            message = "dots are allowed only in overrides; write this key inside its section"
        elif found["type"] == "extra_forbidden":
            hint = did_you_mean(key, known)
            message = f"unknown key{hint}; `clipfit-study config` lists all keys"
        elif not isinstance(found["input"], dict | BaseModel):  # a section would be too long
            message += f", got {short_repr(found['input'])}"
        faults.append(Fault(key, message))
    return faults
