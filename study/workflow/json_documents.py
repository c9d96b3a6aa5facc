"""What commands print with ``--json``: one document each, whose schema follows from its class.

Scores are fractions, and a number that is not finite is null. The file of the same name that ends
in ``.json`` has all schemas.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import models_json_schema

from study.workflow.estimate import Estimate

SCHEMAS = Path(__file__).with_suffix(".json")
"""The file of all schemas."""
Cell = str | bool | int | float | None
"""A value of a table."""


class _Document(BaseModel):
    """A JSON object with these keys and no others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class _Row(BaseModel):
    """A JSON object with these keys, and others for what a study has beside."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class EstimateDocument(_Document):
    """How long a study takes by measured steps; see `study.workflow.estimate.Estimate`."""

    search_seconds: float
    variants_seconds: float
    test_seconds: float
    refit_seconds: float
    total_seconds: float
    trials_at_once: int
    step_seconds: float
    image_seconds: float
    memory_bytes: float
    search_minutes: float | None
    """The limit ``search.minutes``."""


class Fact(_Document):
    """Something that a study would work on."""

    word: str
    text: str


class Check(_Document):
    """The result of ``run --check``; with faults, the exit code is 2."""

    ok: bool
    faults: list[str] = []
    """What keeps the study from starting, each with its place in the configuration."""
    warnings: list[str] = []
    """What is allowed, but may not be meant."""
    notes: list[str] = []
    facts: list[Fact] = []
    estimate: EstimateDocument | None = None
    """With ``--estimate``."""


class Candidate(_Row):
    """A row of a study's leaderboard, with the columns of leaderboard.csv."""

    label: str
    winner: bool
    subset: str
    trainable: int | None
    source_trial: str | None
    val_score: float | None
    seeds: int
    chance: float | None
    test_mean: float | None
    test_low: float | None
    test_high: float | None


class AblationCell(_Row):
    """A cell of an ablation, with the columns of ablation.csv."""

    label: str
    base_label: str
    subset: str
    score_mean: float | None
    difference_mean: float | None


class BestConfiguration(_Row):
    """One of the best configurations that the tracking server has."""

    study: str
    label: str
    dataset: str
    subset: str
    val_score: float | None
    test_score: float | None


class Leaderboard(RootModel[list[Candidate] | list[AblationCell] | list[BestConfiguration]]):
    """The rows of ``leaderboard``: of a study, of an ablation, or of the tracking server."""


class ClassDifference(_Document):
    """The answers of two candidates on the test images of a class."""

    part: str
    class_name: str = Field(alias="class")
    answers: int
    """The images times the seeds."""
    only_one: int
    """The answers that the first gives rightly, and the other does not."""
    only_other: int
    gain: float


class ImageDifference(_Document):
    """A test image that one candidate gets right more often."""

    part: str
    class_name: str = Field(alias="class")
    path: str
    one: float
    """The share of the seeds with which the first is right."""
    other: float
    gain: float


class Difference(_Document):
    """The result of ``diff``."""

    one: str
    other: str
    classes: list[ClassDifference]
    images: list[ImageDifference]


class DoubtfulLabel(_Document):
    """A training image whose label is to be checked, with the columns of labels.csv."""

    path: str
    given: str
    suggested: str
    agree: int
    models: int
    confidence: float
    source: str


class Labels(_Document):
    """The result of ``labels``."""

    file: str
    """The file that was written."""
    scored: int
    """The number of labels that were scored."""
    doubted: list[DoubtfulLabel]


class Trial(_Row):
    """A trial of a study."""

    trial_id: str
    stage: str
    label: str
    status: str
    epochs: int
    epochs_planned: int
    seed: int
    settings: dict[str, Cell]
    trainable: int
    val: dict[str, float | None]
    test: dict[str, float | None]
    reason: str | None


class StatusDocument(_Row):
    """The result of ``status``; the keys are those of `study.workflow.status.Status`."""

    study: str
    state: str
    wanted: int | None
    extended: list[int]
    counts: dict[str, dict[str, int]]
    running: list[Trial]
    silent: dict[str, float]
    failed: list[Trial]
    best: list[Trial]
    expected: float | None
    test_score: float | None
    balanced: float | None
    told: list[str]


class Summary(_Row):
    """A study in a folder; the keys are those of `study.workflow.overview.COLUMNS`."""

    study: str
    state: str
    trials: int
    val_score: float | None
    val_expected: float | None
    test_score: float | None
    test_balanced: float | None
    bytes: int
    seconds: float
    study_id: str | None
    registered: str | None


class Studies(RootModel[list[Summary]]):
    """The result of ``list``."""


DOCUMENTS: tuple[type[BaseModel], ...] = (
    *(Check, EstimateDocument, Leaderboard, Difference, Labels, StatusDocument, Studies),
)
"""The documents of all commands."""


def json_schemas() -> dict[str, Any]:
    """Return the schemas of all documents, by their names in ``$defs``."""
    mode: Literal["serialization"] = "serialization"
    _, schemas = models_json_schema([(document, mode) for document in DOCUMENTS])
    return schemas


def print_document(document: type[BaseModel], values: Any) -> None:
    """Print a document as JSON.

    Args:
        document: its class.
        values: its content, of Python's own types.
    """
    print(document.model_validate(values).model_dump_json(indent=2, by_alias=True))


def estimate_values(estimate: Estimate) -> dict[str, float | None]:
    """Return the values of an `EstimateDocument`."""
    return {
        "search_seconds": estimate.search,
        "variants_seconds": estimate.variants,
        "test_seconds": estimate.test,
        "refit_seconds": estimate.refit,
        "total_seconds": estimate.total,
        "trials_at_once": estimate.slots,
        "step_seconds": estimate.cost.step,
        "image_seconds": estimate.cost.image,
        "memory_bytes": estimate.cost.memory,
        "search_minutes": estimate.minutes,
    }
