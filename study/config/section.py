"""The base class of all sections of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault.

    The numbers of a section are ``StrictInt`` and ``StrictFloat``: else true would be 1.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
        use_attribute_docstrings=True,  # the meanings that `config` prints
    )
