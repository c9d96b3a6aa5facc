"""The configuration of a study: one frozen schema, every default in it, all faults at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from study.errors import ConfigError, SubsetError
from study.method.subsets import parse

Protocol = Literal["few_shot", "base_to_new"]
Selection = Literal["auto", "holdout", "folds", "class_folds", "base"]


def _canonical_subset(text: str) -> str:
    try:
        return str(parse(text))
    except SubsetError as error:
        raise ValueError(str(error)) from None


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound is above the upper one")
    return bounds


SubsetText = Annotated[str, AfterValidator(_canonical_subset)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_increasing)]
"""Lower and upper bound of a log-uniform choice."""


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """The images, and how many of them a trial learns from."""

    dataset: str = "digits"
    """A name that `study.data` knows, or any with ``root`` an image folder."""
    root: Path | None = None
    """The folder that holds the images; None for what packages ship."""
    shots: int = Field(16, ge=1)
    """Labelled training images a class."""
    val_shots: int | None = Field(None, ge=1)
    """Validation images a class, drawn in addition; None means min(shots, 4)."""
    templates: tuple[str, ...] | None = Field(None, min_length=1)
    """Prompts with ``{}`` for the class name; the first one trains. None: the dataset's own."""
    augment: bool = True
    """Random resized crop and horizontal flip of training images."""
    on_corrupt: Literal["fail", "skip"] = "fail"
    """What an image that cannot be decoded does."""

    @model_validator(mode="after")
    def _templates_have_a_place(self) -> Self:
        for template in self.templates or ():
            if "{}" not in template:
                raise ValueError(f"template '{template}' has no {{}} for the class name")
        return self


class BackboneConfig(Section):
    """The frozen CLIP checkpoint."""

    name: str = "embedded"
    """A hub name, a local folder, or ``embedded`` for the small checkpoint in this package."""
    revision: str | None = None
    """A commit of the hub, so that every node and every later reader gets the same weights."""


class TrainingConfig(Section):
    """What every trial shares."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(32, ge=1)
    eval_batch_size: int = Field(256, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_lr: float = Field(1e-5, ge=0)
    """Learning rate of epoch 0."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the encoders' forward pass; parameters and losses stay float32."""


class SpaceConfig(Section):
    """What a trial may choose."""

    sites: tuple[SubsetText, ...] = (
        "text.attn.bias",
        "text.mlp.fc1.bias",
        "text.mlp.fc2.bias",
        "text.ln1",
        "text.ln2",
        "text.ln_final",
        "vision.attn.bias",
        "vision.mlp.fc1.bias",
        "vision.mlp.fc2.bias",
        "vision.ln_pre",
        "vision.ln1",
        "vision.ln2",
        "vision.ln_post",
    )
    """Each is taken or left; without layers, since windows choose those."""
    windows: bool = True
    """Choose, for each encoder, a range of layers that its sites are limited to."""
    bias_lr: Range = (5e-4, 2e-1)
    ln_lr: Range = (5e-4, 2e-1)
    distill_weight: Range = (0.25, 16.0)
    """λ; chosen only where the text encoder is tuned, since it is inert elsewhere."""

    @model_validator(mode="after")
    def _sites_are_plain(self) -> Self:
        if not self.sites:
            raise ValueError("sites is empty: there is nothing to search; name at least one")
        for site in self.sites:
            terms = parse(site).terms
            if len(terms) != 1 or terms[0][0] < 0 or terms[0][1].layers is not None:
                raise ValueError(f"site '{site}' must be one term without layers")
        if len(set(self.sites)) < len(self.sites):
            raise ValueError("sites names one site twice")
        return self


class AshaConfig(Section):
    """Asynchronous successive halving on epochs."""

    grace_period: int = Field(3, ge=3)
    """Epochs before the first decision; epoch 0 is warm-up and tells little."""
    reduction_factor: float = Field(3, gt=1)


class BaselineConfig(Section):
    """A configuration that is tried first and confirmed whatever it scores."""

    subset: SubsetText
    bias_lr: Positive | None = None
    ln_lr: Positive | None = None
    distill_weight: float = Field(0.0, ge=0)


def _published_baselines() -> dict[str, BaselineConfig]:
    """The paper's CLIPFit and the two obvious rivals, at its learning rate and λ."""
    rates = {"bias_lr": 0.002, "ln_lr": 0.002, "distill_weight": 8.0}
    return {
        "zero-shot": BaselineConfig(subset="none"),
        "clipfit": BaselineConfig(subset="clipfit", **rates),
        "bitfit": BaselineConfig(subset="bitfit", **rates),
        "ln": BaselineConfig(subset="ln", **rates),
    }


class SearchConfig(Section):
    """How trials are proposed, judged and stopped."""

    trials: int = Field(48, ge=8)
    """All trials of the search: baselines, CLIPFit's own search and the open search."""
    sampler: Literal["tpe", "random"] = "tpe"
    selection: Selection = "auto"
    """What a trial is judged by; auto is the rule that the protocol does best with."""
    folds: int = Field(3, ge=2)
    """Parts of the shots (folds) or of the base classes (class_folds)."""
    tuned_share: float = Field(0.25, ge=0.25, le=0.9)
    """Share of the trials that tunes the learning rates and λ of CLIPFit's own subset."""
    asha: AshaConfig | None = AshaConfig()
    """None trains every trial to its last epoch."""
    space: SpaceConfig = SpaceConfig()
    baselines: dict[str, BaselineConfig] = Field(default_factory=_published_baselines)
    """Label to configuration; they are trials 0, 1, … of the study."""


class ConfirmConfig(Section):
    """The one stage that reads the test split."""

    seeds: tuple[int, ...] = Field((1, 2, 3, 4, 5), min_length=2)
    """Each draws its own shots and order of batches."""
    runners_up: int = Field(2, ge=0)
    """How many configurations after the winner are confirmed beside the baselines."""


class ResourcesConfig(Section):
    """What one trial occupies; how many run at once follows from the cluster."""

    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: float = Field(0, ge=0)
    """A fraction lets several trials share a GPU: 0.25 puts four on one."""
    max_concurrent: int | None = Field(None, ge=1)
    """None: as many as the cluster holds when the study starts."""
    max_failures: int = Field(3, ge=0)
    """How often a trial whose worker died is taken up again from its last epoch."""


class TrackingConfig(Section):
    """Where MLflow writes."""

    uri: str | None = None
    """None: ``$MLFLOW_TRACKING_URI``, else a SQLite store in the working folder."""
    experiment: str = Field("clipfit-study", min_length=1)

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if "@" in urlsplit(self.uri or "").netloc:
            raise ValueError(
                "uri holds a user name or password, and a configuration is shared; give it by "
                "MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return self


class StudyConfig(Section):
    """A whole study. Every field may be given in YAML or as ``section.field=value``."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Names the folder in ``storage`` and the MLflow run; None makes a unique one."""
    seed: int = Field(1, ge=0)
    """Of the shots, the batches and the sampler of the search."""
    protocol: Protocol = "few_shot"
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = SearchConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    resources: ResourcesConfig = ResourcesConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: Path = Path("runs")
    """The folder of all studies; on a cluster, one that every node sees."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        allowed = {"few_shot": ("holdout", "folds"), "base_to_new": ("class_folds", "base")}
        if self.search.selection not in ("auto", *allowed[self.protocol]):
            raise ValueError(
                f"search.selection '{self.search.selection}' cannot judge the protocol "
                f"{self.protocol}; allowed are auto, {', '.join(allowed[self.protocol])}"
            )
        asha = self.search.asha
        if asha is not None and asha.grace_period > self.training.epochs:
            raise ValueError(
                f"search.asha.grace_period {asha.grace_period} is longer than "
                f"training.epochs {self.training.epochs}"
            )
        for needed in ("zero-shot", "clipfit"):
            if needed not in self.search.baselines:
                raise ValueError(f"search.baselines must keep '{needed}': results are told by it")
        for label, baseline in self.search.baselines.items():
            kinds = _kinds_named(baseline.subset)
            for kind in kinds:
                if getattr(baseline, f"{kind}_lr") is None:
                    raise ValueError(
                        f"search.baselines.{label} tunes '{baseline.subset}' and so needs {kind}_lr"
                    )
        fixed = len(self.search.baselines)
        if self.search.trials < 2 * fixed:
            raise ValueError(
                f"search.trials {self.search.trials} leaves too few beside the {fixed} baselines; "
                f"allowed is {2 * fixed} or more"
            )
        return self


def _kinds_named(subset: str) -> set[str]:
    sites = [term.site for sign, term in parse(subset).terms if sign > 0]
    return {"ln" if site.startswith("ln") else "bias" for site in sites}


def load_config(source: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Raises:
        ConfigError: every fault of the file and the overrides, each with its path.
    """
    try:
        values = yaml.safe_load(source.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {source} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"configuration {source} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {source} must be a mapping of sections, got {values!r}")
    for override in overrides:
        _apply(values, override)
    return build_config(values, str(source))


def build_config(values: Mapping[str, Any], source: str) -> StudyConfig:
    """Validate a mapping.

    Raises:
        ConfigError: every fault, each with its path, what was got and what is allowed.
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors()]
    raise ConfigError(
        f"{source} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n"
        + "\n".join(f"  {fault}" for fault in faults)
    )


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override '{override}' is not of the form section.field=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{override}': the value is not valid YAML: {error}") from error
    *sections, field = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override '{override}': {section} is {inner!r}, not a section")
        values = inner
    values[field] = value


def _describe(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = list(_fields_at(fault["loc"][:-1]))
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"allowed are {', '.join(known)}"
        return f"{path}: unknown key; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict | BaseModel):
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, got {fault['input']!r}"


def _fields_at(location: tuple[Any, ...]) -> Iterable[str]:
    section: type[BaseModel] = StudyConfig
    for part in location:
        field = section.model_fields.get(part)
        if field is None:  # the label of a baseline: its fields are those of the value type
            continue
        types = (field.annotation, *getattr(field.annotation, "__args__", ()))
        section = next(t for t in types if isinstance(t, type) and issubclass(t, BaseModel))
    return section.model_fields


def dump_config(config: StudyConfig) -> str:
    """Give the whole configuration, defaults included, as YAML that `load_config` reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
