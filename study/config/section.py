"""What the sections of a configuration share: frozen models that refuse unknown keys."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from study.errors import SubsetError
from study.method.subsets import parse

LONGEST_PATH, LONGEST_NAME = 4000, 255
"""The lengths, in bytes, that file systems allow, less room for the files in a study's folder."""


def _canonical_subset(text: str) -> str:
    try:
        return str(parse(text))
    except SubsetError as error:
        raise ValueError(str(error)) from None


SubsetText = Annotated[str, AfterValidator(_canonical_subset)]
"""A subset in its canonical form."""
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
    )

    @field_validator("*")
    @classmethod
    def _exists_on_machines(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= 2**31:
            raise ValueError("a whole number must be below 2147483648")
        if isinstance(value, Path):
            if "\0" in str(value) or len(os.fsencode(value)) > LONGEST_PATH:
                raise ValueError(f"a path has at most {LONGEST_PATH} bytes, none of them NUL")
            if any(len(os.fsencode(part)) > LONGEST_NAME for part in value.parts):
                raise ValueError(f"a file or folder has a name of at most {LONGEST_NAME} bytes")
        return value
