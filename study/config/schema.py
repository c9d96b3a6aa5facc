"""The configuration of a study: one frozen schema with every default in it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from study.errors import SECRET_OF_A_QUERY, SubsetError
from study.method.checkpoint import EMBEDDED
from study.method.subsets import parse

TUNED = "clipfit-tuned"
RANKS = ("best", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""Labels of the candidates that the search itself finds."""
APART = {"parts": "apart"}
"""A context of validation in which the parts are not compared."""
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "few_shot": ("holdout", "folds"),
    "transfer": ("holdout", "folds"),
    "base_to_new": ("class_folds", "base"),
}
"""Protocol to what can judge its trials; zero_shot has none."""
METRICS = ("accuracy", "source", "base", "new", "hmean", "score")
"""Names of test metrics, which no target may have."""
Protocol = Literal["few_shot", "base_to_new", "transfer", "zero_shot"]
Regularizer = Literal["cosine", "l2_init", "none"]
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


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first number must be below the second")
    return bounds


LONGEST_PATH, LONGEST_NAME = 4000, 255
"""Bytes that file systems take, with room for what lies in a study's folder."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of a study."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
"""Names a baseline, and a part of the folders of its trials."""
SubsetText = Annotated[str, AfterValidator(_canonical_subset)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_increasing)]
"""Lower and upper bound of a log-uniform choice."""


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        # Defaults too, so that a configuration equals itself after being written and read.
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
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
    short: Literal["fail", "take_all"] = "fail"
    """What a class with fewer training images than shots does."""
    shots_from: Path | None = None
    """A folder of few-shot splits that others published; None draws them."""
    templates: tuple[str, ...] | None = Field(None, min_length=1)
    """Prompts with ``{}`` for the class name; the first one trains. None: the dataset's own."""
    ensemble: bool = False
    """Classify by the mean of all templates: those given, else the dataset's own and CLIP's seven.

    Training keeps to the first."""
    columns: dict[Literal["path", "label", "class_name", "split", "image"], str] | None = None
    """Part to column, where a table or a Hugging Face dataset calls it otherwise."""
    splits: dict[Literal["train", "val", "test"], str] | None = None
    """Split to its name in a Hugging Face dataset, where it is another."""
    subset: str | None = None
    """Configuration of a Hugging Face dataset that has several."""
    revision: str | None = None
    """Branch, tag or commit of a dataset of the hub."""
    targets: tuple[str, ...] = ()
    """Datasets to be tested on as well, by the protocols transfer and zero_shot."""
    targets_root: Path | None = None
    """The folder that holds the targets; None: ``root``."""
    augment: bool = True
    """Random resized crop and horizontal flip of training images."""
    on_corrupt: Literal["fail", "skip"] = "fail"
    """What an image that cannot be decoded does."""
    pixel_range: Annotated[tuple[float, float], AfterValidator(_rising)] | None = None
    """Values that become black and white in images deeper than 8 bits, of the targets as well.

    None: 16 bits by their depth, floating-point numbers from 0 to 1; others are refused."""

    @model_validator(mode="after")
    def _templates_have_a_place(self) -> Self:
        for template in self.templates or ():
            if "{}" not in template:
                raise ValueError(f"template '{template}' has no {{}} for the class name")
        return self


class BackboneConfig(Section):
    """The frozen CLIP checkpoint."""

    name: str = Field(EMBEDDED, min_length=1)
    """A hub name, a local folder, or ``embedded`` for the small checkpoint in this package."""
    revision: str | None = None
    """A commit of the hub, so that every node and every later reader gets the same weights."""

    @field_validator("name")
    @classmethod
    def _folder_is_absolute(cls, name: str) -> str:
        """Return what means the same folder to workers and to later readers of the study."""
        if name == EMBEDDED or Path(name).is_absolute():
            return name
        try:
            folder = Path(name).expanduser()
            return str(folder.resolve()) if folder.is_dir() else name
        except (OSError, RuntimeError):  # too long for a folder's name, or of no user's home
            return name


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
    regularizer: Regularizer = "cosine"
    """What λ weighs: the paper's distillation, or the distance of the parameters to where they
    began, or nothing."""
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

    trials: int = Field(48, ge=0)
    """All trials of the search: baselines, CLIPFit's own search and the open search.

    0 searches nothing: the baselines are confirmed as they are, to reproduce published results."""
    sampler: Literal["tpe", "random"] = "tpe"
    selection: Selection = "auto"
    """What a trial is judged by; auto is the rule that the protocol does best with."""
    folds: int | None = Field(None, ge=2)
    """Parts of the shots (folds) or of the base classes (class_folds); None: 4 and 3."""
    tuned_share: float = Field(0.25, ge=0.25, le=0.9)
    """Share of the trials that tunes the learning rates and λ of CLIPFit's own subset."""
    warm_start: str | None = Field(None, pattern=NAME)
    """A study in ``storage``, whose best configurations are tried right after the baselines."""
    asha: AshaConfig | None = AshaConfig()
    """None trains every trial to its last epoch."""
    space: SpaceConfig = SpaceConfig()
    baselines: dict[Label, BaselineConfig] = Field(default_factory=_published_baselines)
    """Label to configuration; they are trials 0, 1, … of the study."""


class ConfirmConfig(Section):
    """The one stage that reads the test split."""

    seeds: tuple[Seed, ...] = Field((1, 2, 3, 4, 5), min_length=2)
    """Each draws its own shots and order of batches; zero_shot has no use for them."""
    runners_up: int = Field(2, ge=0, le=8)
    """How many configurations after the winner are confirmed beside the baselines."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} name one seed twice")
        return self


class AblationConfig(Section):
    """Subsets compared beside each other, each at learning rates of its own."""

    design: Literal["only_one", "leave_one_out", "layers", "grid"]
    """only_one: each site alone; leave_one_out: the base less one site each; layers: the base in a
    window of layers; grid: ``subsets``."""
    base: SubsetText = "clipfit"
    """What every cell is compared with."""
    base_from: str | None = None
    """The name of a finished study in ``storage`` whose winner is the base instead."""
    sites: tuple[SubsetText, ...] | None = Field(None, min_length=1)
    """Of only_one and leave_one_out; None: every single site of the space, or of the base."""
    subsets: dict[Label, SubsetText] = Field(default_factory=dict)
    """Of grid, by the cell's name."""
    windows: Literal["sliding", "from_bottom", "from_top"] = "sliding"
    """Of layers: ``width`` layers at each place, or 1, 2, … layers from one end."""
    width: int = Field(1, ge=1)
    rates: tuple[Positive, ...] = Field((0.002,), min_length=1)
    """Learning rates that each cell is tried at, the best by validation tested; one: as it is."""
    distill_weight: float = Field(8.0, ge=0)
    """λ of every cell that the text encoder is tuned in."""
    reuse: bool = True
    """Take over trials that MLflow holds with the same configuration hash, rather than repeat."""

    @model_validator(mode="after")
    def _grid_is_given(self) -> Self:
        if (self.design == "grid") != bool(self.subsets):
            raise ValueError("subsets belong to the design grid, which needs at least one")
        if "base" in self.subsets:
            raise ValueError("subsets: 'base' is the name of the base itself")
        return self


class ResourcesConfig(Section):
    """What one trial occupies; how many run at once follows from the cluster."""

    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: float = Field(0, ge=0)
    """A fraction lets several trials share a GPU: 0.25 puts four on one."""
    max_concurrent: int | None = Field(None, ge=1)
    """None: as many as fit, on a cluster also on machines that come later, while one more waits for
    them. A number lets an autoscaler see that many at once."""
    max_failures: int = Field(3, ge=0)
    """How often a trial whose worker died is taken up again from its last epoch."""
    max_epoch_seconds: float | None = Field(21_600, gt=0)
    """Time of an epoch, evaluation included, after which a trial hangs: its worker is then killed
    like one that died. None: never."""


class TrackingConfig(Section):
    """Where MLflow writes."""

    uri: str | None = None
    """None: ``$MLFLOW_TRACKING_URI``, else a SQLite store in the working folder."""
    experiment: str = Field("clipfit-study", min_length=1)

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        uri = self.uri or ""
        if re.search(r"://[^\s]*@", uri) or SECRET_OF_A_QUERY.search(uri):
            raise ValueError(
                "uri holds a user name or password, and a configuration is shared; give it by "
                "MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return self


def default_storage() -> Path:
    """Give ``$STUDY_STORAGE``, which a cluster sets, else ``runs``."""
    return Path(os.environ.get("STUDY_STORAGE") or "runs")


class StudyConfig(Section):
    """A whole study. Every field may be given in YAML or as ``section.field=value``."""

    name: str | None = Field(None, pattern=NAME)
    """Names the folder in ``storage`` and the MLflow run; None makes a unique one."""
    seed: Seed = 1
    """Of the shots, the batches and the sampler of the search."""
    protocol: Protocol = "few_shot"
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = SearchConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    ablation: AblationConfig | None = None
    """Given, it takes the place of search and confirm; its seeds are confirm's."""
    resources: ResourcesConfig = ResourcesConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: Path = Field(default_factory=default_storage)
    """The folder of all studies; on a cluster, one that every node sees."""

    @model_validator(mode="after")
    def _parts_agree(self, info: ValidationInfo) -> Self:
        if info.context is not APART and (faults := list(self.disagreements())):
            raise ValueError("\n".join(faults))
        return self

    @property
    def searches(self) -> bool:
        """Whether there is a search: zero_shot has nothing to train, an ablation its own cells."""
        return self.protocol != "zero_shot" and self.search.trials > 0 and self.ablation is None

    @property
    def validates(self) -> bool:
        """Whether anything is chosen by validation: by a search, or the rates of an ablation."""
        return self.searches or (self.ablation is not None and len(self.ablation.rates) > 1)

    @property
    def image_rule(self) -> Literal["folds", "holdout"]:
        """What auto comes to where all classes are trained: folds, if a class fills them."""
        val_shots = self.data.val_shots or min(self.data.shots, 4)
        return "folds" if self.data.shots + val_shots >= (self.search.folds or 4) else "holdout"

    @property
    def shot_seeds(self) -> tuple[int, ...]:
        """Seeds of the draws that the study is trained and tested with, the search's not counted.

        A test without training is the same whatever the seed.
        """
        return (self.seed,) if self.protocol == "zero_shot" else self.confirm.seeds

    @property
    def tested_as_given(self) -> dict[str, BaselineConfig]:
        """What is tested where nothing is searched, by label."""
        if self.protocol == "zero_shot":
            return {"zero-shot": BaselineConfig(subset="none")}
        return self.search.baselines

    def disagreements(self) -> Iterator[str]:
        """Tell which parts do not go together, each a line that begins with a path."""
        yield from self._disagreements_of_data()
        for label, baseline in self.search.baselines.items():
            if label in (TUNED, *RANKS):
                yield f"search.baselines.{label}: is a name that results use; choose another"
            for kind in sorted(_kinds_named(baseline.subset)):
                if getattr(baseline, f"{kind}_lr") is None:
                    yield (
                        f"search.baselines.{label}: tunes '{baseline.subset}' and so needs "
                        f"{kind}_lr"
                    )
        if self.ablation is not None and self.protocol not in ("few_shot", "base_to_new"):
            yield f"ablation: cannot be of {self.protocol}; allowed are few_shot, base_to_new"
        if not self.search.baselines:
            yield "search.baselines: is empty; allowed is one or more"
        elif self.searches:
            yield from self._disagreements_of_search()
        if self.validates and self.protocol in SELECTIONS:
            allowed = SELECTIONS[self.protocol]
            if self.search.selection not in ("auto", *allowed):
                yield (
                    f"search.selection: '{self.search.selection}' cannot judge the protocol "
                    f"{self.protocol}; allowed are auto, {', '.join(allowed)}"
                )

    def _disagreements_of_data(self) -> Iterator[str]:
        data = self.data
        tests_targets = self.protocol in ("transfer", "zero_shot")
        if self.protocol == "transfer" and not data.targets:
            yield "data.targets: is empty; transfer needs at least one dataset to test on"
        if data.targets and not tests_targets:
            yield (
                f"data.targets: {self.protocol} has no use for them; allowed with the protocols "
                "transfer and zero_shot"
            )
        if data.targets_root is not None and not data.targets:
            yield "data.targets_root: holds nothing, since data.targets is empty"
        names = (data.dataset, *data.targets)
        for name in dict.fromkeys(data.targets):
            if names.count(name) > 1:
                yield f"data.targets: '{name}' is the source or is named twice"
            if name in METRICS:
                yield f"data.targets: '{name}' is a name that metrics have; call it otherwise"
        if data.shots_from is not None and data.val_shots is not None:
            yield "data.val_shots: has no effect beside data.shots_from, which lists them"

    def _disagreements_of_search(self) -> Iterator[str]:
        search, labels = self.search, self.search.baselines
        if search.asha is not None and search.asha.grace_period > self.training.epochs:
            yield (
                f"search.asha.grace_period: {search.asha.grace_period} is longer than "
                f"training.epochs, which is {self.training.epochs}; allowed are fewer, or "
                "search.asha: null for no stopping"
            )
        for needed in ("zero-shot", "clipfit"):
            if needed not in labels:
                yield f"search.baselines: must keep '{needed}', since results are told by it"
        if search.trials < 2 * len(labels):
            yield (
                f"search.trials: {search.trials} leaves too few beside the {len(labels)} "
                f"baselines; allowed is {2 * len(labels)} or more, or 0 for no search"
            )
        elif len(labels) + math.ceil(search.tuned_share * search.trials) >= search.trials:
            yield (
                f"search.tuned_share: {search.tuned_share} of {search.trials} trials, beside "
                f"{len(labels)} baselines, leaves none to search subsets"
            )


def _kinds_named(subset: str) -> set[str]:
    sites = [term.site for sign, term in parse(subset).terms if sign > 0]
    return {"ln" if site.startswith("ln") else "bias" for site in sites}
