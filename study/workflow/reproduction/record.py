"""What a reproduction has found, in a file that others may read without trusting it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has control characters, which a terminal would obey")
    return text


Text = Annotated[str, AfterValidator(_printable)]
Facts = dict[Text, Text]
Number = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction."""


class _Strict(BaseModel):
    """An object with these keys and types and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Run(_Strict):
    """A run of the command, on one machine with one installation."""

    command: Text
    began: Text
    machine: Facts


class Score(_Strict):
    """The test score of a configuration."""

    configuration: Text
    dataset: Text
    seeds: Number
    test: Share
    parts: dict[Text, Share]
    """Base and new, or the accuracy on each dataset that was tested."""


class StepRecord(_Strict):
    """What became of a step, which is still to be run if it is not done and has no reasons."""

    name: Text
    command: Text
    """The command that runs it alone."""
    done: bool = False
    reasons: list[Text] = []
    """Why it has no results."""
    run: Number = 0
    """The index in ``runs`` of the run that did it."""
    seconds: Number = 0
    scores: list[Score] = []


class Reproduction(_Strict):
    """The whole record, ``reproduction.json``."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    measurement: bool
    """Whether its figures measure anything; those of ``--quick`` do not."""
    settings: list[Text]
    """The settings that differ from the published ones."""
    runs: list[Run] = []
    inputs: dict[Text, Facts] = {}
    """What is known of the checkpoint and of each dataset, such as the SHA-256 of its files."""
    steps: list[StepRecord] = []
