"""The configuration of a study: one frozen schema with every default in it."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from study.backbones.architecture import Family
from study.backbones.description import EMBEDDED
from study.config.trial_settings import (
    HEAVIEST,
    HIGHEST_RATE,
    Alpha,
    Decay,
    Head,
    KnownKind,
    Peer,
    PeerMethod,
    Rank,
    Rate,
    Section,
    SubsetText,
    TrialSettings,
    expanded,
)
from study.data.records import OnCorrupt
from study.data.shots import Short
from study.errors import SECRET_OF_A_QUERY
from study.method.parameters import kind_names
from study.method.recipe import (
    DISTILL_WEIGHT,
    LEARNING_RATE,
    MOMENTUM,
    WARMUP_LR,
    WEIGHT_DECAY,
    Optimizer,
    Precision,
    Regularizer,
    WantedPrecision,
)
from study.method.subsets import parse
from study.storage.command_lines import default_storage

TUNED = "clipfit-tuned"
"""The label of the best configuration of CLIPFit's own search."""
TUNED_LINEAR = "clipfit-tuned-linear"
"""The label of that configuration with a linear head."""
RANKS = ("best", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""The labels of the best configurations of the whole search, best first."""
SMALLEST = "smallest"
"""The label of the candidate with the fewest tuned values within one standard error of the best."""
WITH_DELTA = "best-with-delta"
"""The label of the best configuration with a delta, where the best has none."""
PLAIN, PLAIN_STRENGTH, FULL_STRENGTH = "best-plain", "best-text", "best-full-strength"
"""The labels of the best configuration with neither head nor strength, without its head, and
without its strength."""
CALIBRATED = "best-calibrated"
"""The label of the best configuration with calibrated stacking."""
BEST_PEER = "best-peer"
"""The label of the best peer, where it is neither a baseline nor among the best."""
FURTHER = (
    *(SMALLEST, BEST_PEER, WITH_DELTA, PLAIN, PLAIN_STRENGTH, FULL_STRENGTH, CALIBRATED),
    TUNED_LINEAR,
)
"""The labels that candidates have beside those of baselines and ranks."""
AUTO = "auto"
"""The name that leaves the rule of selection to the protocol."""
ZERO_SHOT = "zero-shot"
"""The label of the backbone as it is."""
SCORES = (
    *("score", "accuracy", "base", "new", "hmean"),
    *("generalized", "ausuc", "calibration", "calibrated"),
)
"""The names of scores in the reports of trials; single datasets have scores of their own names."""
LINEAR = "linear"
"""The label of a linear classifier on the backbone as it is."""
AS_PUBLISHED = (ZERO_SHOT, "clipfit", "bitfit", "ln")
"""The labels of baselines that in a search have neither a head nor another strength."""
VARIANT = "variant"
"""The arm of the trials that use validated settings with a head or at another strength."""
ARMS = ("baseline", TUNED, "search", VARIANT)
"""The names of the parts of a search beside its peers, each of which has its label for a name."""
WITHOUT_EFFECT = ("resources.", "tracking.")
"""The beginnings of the keys on which no trial's result depends."""


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound is above the upper one")
    return bounds


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first number must be below the second")
    return bounds


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""The pattern of a study's name."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LABEL = r"^[a-z0-9][a-z0-9._-]{0,39}$"
"""The pattern of a label."""
Label = Annotated[str, Field(pattern=LABEL)]
"""The label of a baseline or of an ablation's cell; the folders of its trials are named by it."""
ObjectName = Annotated[str, Field(min_length=1, max_length=100)]
"""The name of something that code provides, such as a protocol."""
Range = Annotated[tuple[Rate, Rate], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform choice of a learning rate."""
Weight = Annotated[float, Field(gt=0, le=HEAVIEST)]
Weights = Annotated[tuple[Weight, Weight], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform choice of λ."""
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=100)]
"""Learning rates to try."""


def _form(rates: Any) -> str:
    return "[mapping]" if isinstance(rates, Mapping) else "[list]"


class DataConfig(Section):
    """The dataset, and how its images are drawn, read and described."""

    dataset: str = Field("digits", min_length=1)
    """A dataset of this package, ``hf:owner/name``, or any name for your own at ``root``."""
    root: Path | None = None
    """The folder of the images; packaged and hub datasets need none."""
    shots: int = Field(16, ge=1, le=100_000)
    """The number of labelled training images per class."""
    val_shots: int | None = Field(None, ge=1, le=100_000)
    """The number of validation images per class, besides the shots; None means min(shots, 4)."""
    short: Short = "fail"
    """What to do if a class has too few training images for ``shots``: fail, or take them all."""
    shots_from: Path | None = None
    """A folder of published few-shot splits; None means that the study draws its own."""
    templates: tuple[str, ...] | None = Field(None, min_length=1)
    """Prompts with ``{}`` for the class name; training uses the first. None means the dataset's."""
    ensemble: bool = False
    """Whether to classify by the mean of all templates.

    Seven of CLIP's are added, unless ``templates`` replaces the dataset's."""
    columns: dict[Literal["path", "label", "class_name", "split", "image"], str] | None = None
    """Part → column in a table or Hugging Face dataset, where its name is another."""
    splits: dict[Literal["train", "val", "test"], str] | None = None
    """Split → its name in a Hugging Face dataset, where that is another."""
    subset: str | None = None
    """The configuration of a Hugging Face dataset that has several."""
    revision: str | None = None
    """The branch, tag or commit of a hub dataset."""
    targets: tuple[str, ...] = ()
    """Further datasets to test on, for the protocols transfer and zero_shot."""
    targets_root: Path | None = None
    """The folder of the targets; None means ``root``."""
    augment: bool = True
    """Whether training images are cropped, resized and flipped at random."""
    on_corrupt: OnCorrupt = "fail"
    """What to do if an image cannot be decoded: fail, or leave it out and log it."""
    pixel_range: Annotated[tuple[float, float], AfterValidator(_rising)] | None = None
    """The values that become black and white in images deeper than 8 bits, also in the targets.

    None means the full range of 16-bit images, and 0 to 1 for floating-point ones."""


class BackboneConfig(Section):
    """The frozen CLIP checkpoint."""

    name: str = Field(EMBEDDED, min_length=1)
    """A hub name, a local folder, or ``embedded`` for the small checkpoint in this package."""
    revision: str | None = None
    """A commit of the hub, so that everybody loads the same weights."""

    @field_validator("name")
    @classmethod
    def _folder_is_absolute(cls, name: str) -> str:
        """Return a local folder as an absolute path, which workers and later readers can find."""
        if name.startswith("~"):
            with suppress(ValueError):  # no user has this name
                name = expanded(name)
        with suppress(OSError):  # too long for a file name
            folder = Path(name)
            if name != EMBEDDED and not folder.is_absolute() and folder.is_dir():
                return str(folder.resolve())
        return name


class TrainingConfig(Section):
    """The training settings that all trials share."""

    epochs: int = Field(100, ge=1, le=100_000)
    """The number of epochs of a trial, the warm-up included."""
    batch_size: int = Field(32, ge=1, le=65_536)
    """The number of images in a training step."""
    eval_batch_size: int = Field(256, ge=1, le=65_536)
    """The number of images that are evaluated at once."""
    optimizer: Optimizer = "sgd"
    """The optimizer; the paper's is ``sgd``."""
    momentum: float = Field(MOMENTUM, ge=0, lt=1)
    """The momentum of ``sgd``; ``adamw`` does not read it."""
    weight_decay: Decay = WEIGHT_DECAY
    """The weight decay of every tuned parameter."""
    warmup_lr: float = Field(WARMUP_LR, ge=0, le=HIGHEST_RATE)
    """The learning rate of epoch 0, the warm-up."""
    regularizer: Regularizer = "cosine"
    """The loss term that λ weighs: the paper's distillation (``cosine``), the squared distance of
    the tuned parameters from their initial values (``l2_init``), or none."""
    precision: WantedPrecision = "float32"
    """The precision that the encoders compute in, and hold their frozen matrices in; what is tuned,
    features and losses stay float32. ``auto`` is bfloat16 for all trials if a worker finds it
    faster when the study starts. A CPU without instructions for bfloat16 computes in float32."""

    @property
    def computed_in(self) -> Precision:
        """The precision of a trial.

        Raises:
            ValueError: it is ``auto`` still, which is none of a trial.
        """
        if self.precision == "auto":
            raise ValueError("the precision is 'auto', which a study's start has to replace")
        return self.precision


SITES_OF: Mapping[Family, tuple[str, ...]] = {
    "clip": (
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
    ),
    "siglip": (
        "text.attn.bias",
        "text.mlp.fc1.bias",
        "text.mlp.fc2.bias",
        "text.proj.bias",
        "text.ln1",
        "text.ln2",
        "text.ln_final",
        "vision.attn.bias",
        "vision.mlp.fc1.bias",
        "vision.mlp.fc2.bias",
        "vision.pool.bias",
        "vision.ln1",
        "vision.ln2",
        "vision.ln_post",
        "vision.pool.ln",
    ),
}
"""The sites that a search chooses from, by the family of the backbone: all that it has."""


class SpaceConfig(Section):
    """The space from which the search chooses configurations."""

    sites: tuple[SubsetText, ...] = SITES_OF["clip"]
    """The sites that a trial may tune, without layers: ``windows`` sets those. The default stands
    for all sites of the backbone, a SigLIP's too."""
    windows: bool = True
    """Whether a trial also chooses the range of layers that it tunes in each encoder."""
    rates: dict[KnownKind, Range] = Field(default_factory=dict)
    """The range of the learning rate of each kind of parameter; a kind left out has 5e-4 to 0.2."""
    distill_weight: Weights = (0.25, 16.0)
    """The range of λ, which has an effect only if the text encoder is tuned."""
    heads: tuple[Head, ...] = Field(("text", "linear"), min_length=1)
    """What classifies images: the text features of the classes, or a linear head."""
    neighbours: bool = True
    """Whether the open search begins with CLIPFit less a site, or with one more."""
    whole: bool = False
    """Whether the open search also chooses what has no effect on a trial, so that a sampler can
    model all choices together."""

    @field_validator("heads")
    @classmethod
    def _differ(cls, heads: tuple[Head, ...]) -> tuple[Head, ...]:
        if len(set(heads)) < len(heads):
            raise ValueError("names one head twice")
        return heads

    @field_validator("rates")
    @classmethod
    def _of_every_kind(cls, rates: dict[str, Range]) -> dict[str, Range]:
        return {kind: rates.get(kind, (5e-4, 2e-1)) for kind in kind_names()}


class AshaConfig(Section):
    """Asynchronous successive halving (ASHA), counted in epochs."""

    grace_period: int = Field(3, ge=3, le=100_000)
    """Epochs before the first decision; scores of epoch 0, the warm-up, say little."""
    reduction_factor: float = Field(3, gt=1, le=1000)
    """At each decision, about one in this many trials continues."""


class PeerConfig(Section):
    """Another way to train than by a subset, and the range of its learning rate.

    It is trained on the cross-entropy alone: λ is 0."""

    peer: PeerMethod
    optimizer: Optimizer
    lr: Range
    """The range of the learning rate of all its parameters."""
    weight_decay: Decay = WEIGHT_DECAY
    """The weight decay of all its parameters."""

    def at(self, lr: float) -> Peer:
        """Return the peer with a learning rate."""
        return Peer(method=self.peer, lr=lr, **self.model_dump(exclude={"peer", "lr"}))


class FullConfig(PeerConfig):
    """Full fine-tuning of both encoders, without CLIP's logit scale."""

    peer: Literal["full"]
    """Full fine-tuning: every parameter of both encoders."""
    optimizer: Optimizer = "adamw"
    """The optimizer of full fine-tuning."""
    lr: Range = (1e-6, 1e-3)
    """The range of the learning rate of all its parameters."""


class LoraConfig(PeerConfig):
    """Low-rank adapters of the query and value projections of both encoders."""

    peer: Literal["lora"]
    """LoRA, by PEFT (the optional extra ``lora``)."""
    optimizer: Optimizer = "adamw"
    """The optimizer of LoRA."""
    lr: Range = (1e-4, 3e-2)
    """The range of the learning rate of LoRA's matrices."""
    rank: Rank = 4
    """The rank of LoRA's matrices."""
    alpha: Alpha = 8.0
    """LoRA's α: the product of its matrices is multiplied by α / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """The dropout before LoRA's matrices."""


BASELINES: dict[str, type[Section]] = {
    "[settings]": TrialSettings,
    "[full]": FullConfig,
    "[lora]": LoraConfig,
}
"""What an entry of ``search.baselines`` may be, by the name that pydantic's faults give to it."""


def _entry(value: object) -> str:
    """Return which of `BASELINES` an entry is meant to be."""
    peer = value.get("peer") if isinstance(value, Mapping) else getattr(value, "peer", None)
    return f"[{peer}]" if isinstance(peer, str) else "[settings]"


Baseline = Annotated[
    Annotated[TrialSettings, Tag("[settings]")]
    | Annotated[FullConfig, Tag("[full]")]
    | Annotated[LoraConfig, Tag("[lora]")],
    Discriminator(
        _entry,
        custom_error_type="peer",
        custom_error_message="peer is unknown; allowed are full and lora",
    ),
]


def _published_baselines() -> dict[str, Baseline]:
    """Return CLIP as it is, without and with a linear head, and CLIPFit and two rivals.

    Those that tune CLIP have the paper's learning rate and λ.
    """
    rates = dict.fromkeys(kind_names(), LEARNING_RATE)
    tuned = {
        subset: TrialSettings(subset=subset, rates=rates, distill_weight=DISTILL_WEIGHT)
        for subset in ("clipfit", "bitfit", "ln")
    }
    linear = TrialSettings(subset="none", head="linear")
    return {ZERO_SHOT: TrialSettings(subset="none"), **tuned, LINEAR: linear}


class SearchConfig(Section):
    """How trials are proposed, scored and stopped."""

    trials: int = Field(48, ge=0, le=100_000)
    """The number of trials: baselines, CLIPFit's own search and the open search.

    0 means no search: the baselines are tested as they are."""
    minutes: float | None = Field(None, gt=0, le=1_000_000)
    """The longest time that the search may take; None means no limit.

    Baselines are trained in any case. What comes after the search has its own time: heads and
    strengths for what was validated without, the test, and the report."""
    sampler: ObjectName = "tpe"
    """The sampler that proposes trials: ``tpe``, ``random``, or one of an installed package."""
    selection: ObjectName = AUTO
    """The rule by which trials are scored; ``auto`` is the protocol's."""
    folds: int | None = Field(None, ge=2, le=1000)
    """The number of parts of the shots (folds; None means 4) or base classes (class_folds; 3)."""
    tuned_share: float = Field(0.25, ge=0.25, le=0.9)
    """The share of the trials that are CLIPFit's own search, of its rates and λ."""
    warm_start: str | None = Field(None, pattern=NAME)
    """A study in ``storage`` whose best configurations are tried right after the baselines."""
    asha: AshaConfig | None = AshaConfig()
    """When to stop poor trials early; None trains every trial to its last epoch."""
    space: SpaceConfig = SpaceConfig()
    peer_trials: int = Field(8, ge=1, le=10_000)
    """The number of trials that look for the learning rate of each peer, beside ``trials``."""
    baselines: dict[Label, Baseline] = Field(default_factory=_published_baselines)
    """The baselines by label, which are tested whatever their validation scores are.

    An entry with ``peer`` is full fine-tuning or LoRA, and its learning rate is searched. Such
    entries alone are added to the default's."""

    @field_validator("baselines", mode="before")
    @classmethod
    def _beside_published(cls, given: Any) -> Any:
        """Return peers with the published baselines, so that one override asks for a peer."""
        if not isinstance(given, Mapping) or not given:
            return given
        peers_alone = all(_entry(entry) != "[settings]" for entry in given.values())
        return {**_published_baselines(), **given} if peers_alone else given

    @property
    def fixed(self) -> dict[str, TrialSettings]:
        """The baselines that are trained as they are, by label."""
        return {k: own for k, own in self.baselines.items() if isinstance(own, TrialSettings)}

    @property
    def peer_arms(self) -> dict[str, PeerConfig]:
        """The peers whose learning rate is searched, by label; each is an arm of the search."""
        return {k: own for k, own in self.baselines.items() if isinstance(own, PeerConfig)}

    @property
    def peers(self) -> tuple[str, ...]:
        """The labels of the baselines that tune no subset; they stand outside ``trials``."""
        return tuple(
            label
            for label, own in self.baselines.items()
            if isinstance(own, PeerConfig) or own.is_peer
        )

    def plans(self, arm: str, label: str) -> bool:
        """Return whether a trial is one of ``trials``; peers and variants stand outside."""
        return {arm, label}.isdisjoint({VARIANT, *self.peers})

    @property
    def with_lora(self) -> tuple[str, ...]:
        """The labels of the baselines that need PEFT."""
        fixed = (k for k, own in self.fixed.items() if own.peer and own.peer.method == "lora")
        return (*fixed, *(k for k, own in self.peer_arms.items() if own.peer == "lora"))

    @property
    def planned(self) -> int:
        """The number of trials of the search with those of the peers, and without variants."""
        fixed = len(self.peers) - len(self.peer_arms)
        return self.trials + fixed + self.peer_trials * len(self.peer_arms)


class ConfirmConfig(Section):
    """The test of the chosen configurations, the one stage that reads the test split."""

    seeds: tuple[Seed, ...] = Field((1, 2, 3, 4, 5), min_length=2, max_length=1000)
    """The seeds of the test; each has its own shots and batch order. zero_shot ignores them."""
    runners_up: int = Field(2, ge=0, le=8)
    """The number of configurations tested after the winner, in addition to the baselines."""
    strength: float | None = Field(None, ge=0, le=1)
    """α, the share of the tuned change that is kept: θ₀ + α(θ − θ₀). None means the protocol's."""


class AblationConfig(Section):
    """A comparison of subsets (cells), each at the best of the same learning rates."""

    design: Literal["only_one", "leave_one_out", "layers", "grid", "pairs"]
    """The subsets to compare.

    ``only_one``: each site alone; ``leave_one_out``: the base without one site each; ``layers``:
    the base in windows of layers; ``grid``: those in ``subsets``; ``pairs``: each site alone, each
    two sites together, and zero-shot."""
    base: SubsetText = "clipfit"
    """The subset with which every cell is compared."""
    base_from: str | None = None
    """A finished study in ``storage`` whose winner is the base; None means ``base``."""
    sites: tuple[SubsetText, ...] | None = Field(None, min_length=1)
    """The sites that ``only_one``, ``leave_one_out`` and ``pairs`` vary.

    None means those of ``search.space`` for ``only_one``, of the base for the others."""
    subsets: dict[Label, SubsetText] = Field(default_factory=dict)
    """The subsets of ``grid``, by the name of the cell."""
    windows: Literal["sliding", "from_bottom", "from_top"] = "sliding"
    """The windows of ``layers``: ``width`` layers at each place, or 1, 2, … layers from one end."""
    width: int = Field(1, ge=1, le=1000)
    """The number of layers in a sliding window."""
    rates: Annotated[
        Annotated[Rates, Tag("[list]")]
        | Annotated[dict[KnownKind, Rates], Field(min_length=1), Tag("[mapping]")],
        Discriminator(_form),
    ] = (LEARNING_RATE,)
    """Learning rates to try in each cell: a list for all kinds of parameter, or one for each kind.

    A single rate is tested without validation."""
    extend: bool = True
    """Whether a cell whose best rate is the lowest or highest tried is tried beyond it as well."""
    distill_weight: float = Field(DISTILL_WEIGHT, ge=0, le=HEAVIEST)
    """λ of every cell in which the text encoder is tuned."""
    reuse: bool = True
    """Whether trials of other studies of ``storage`` with the same hash are taken over."""

    def rates_of(self, kind: str) -> tuple[float, ...]:
        """Return the rates to try for a kind of parameter, each once; empty if it has none."""
        own = self.rates.get(kind, ()) if isinstance(self.rates, dict) else self.rates
        return tuple(dict.fromkeys(own))

    @property
    def chooses(self) -> bool:
        """Whether there are several rates to choose from."""
        return any(len(self.rates_of(kind)) > 1 for kind in kind_names())


class ResourcesConfig(Section):
    """The resources of one trial; the number of trials at once follows from the cluster."""

    cpus_per_trial: float = Field(1, gt=0, le=10_000)
    """CPU cores of a trial."""
    gpus_per_trial: float = Field(0, ge=0, le=1000)
    """GPUs of a trial; a fraction lets several trials share a GPU: 0.25 puts four on one."""
    max_concurrent: int | None = Field(None, ge=1, le=100_000)
    """The most trials at once.

    None means as many as fit, and on a cluster one more, which waits for a machine that joins
    later; a number lets an autoscaler see that many trials at once."""
    max_failures: int = Field(3, ge=0, le=10_000)
    """How often a trial continues from its last epoch after its worker died."""
    max_epoch_seconds: float | None = Field(21_600, gt=0, le=31_536_000)
    """The seconds after which an epoch, with its evaluation, counts as hung, and its worker as one
    that died. None means no limit."""


class TrackingConfig(Section):
    """Where a study's results are kept beside its folder."""

    tracker: str = "mlflow"
    """The tracker: ``mlflow``, or one of an installed package."""
    uri: str | None = None
    """The tracking server or store.

    None means ``$MLFLOW_TRACKING_URI``, else a SQLite store in the working folder."""
    experiment: str = Field("clipfit-study", min_length=1)
    """The name of the MLflow experiment."""


class StudyConfig(Section):
    """A whole study; each field can be set in YAML or as ``section.field=value``.

    Each value is validated here. Whether they go together is what `disagreements` says;
    `study.config.loading` asks it, and so does the check before a study starts.
    """

    name: str | None = Field(None, pattern=NAME)
    """The name of the folder in ``storage`` and of the MLflow run; None means a new unique name."""
    seed: Seed = 1
    """The seed of the shots, the batches and the sampler of the search."""
    protocol: ObjectName = "few_shot"
    """A protocol of this package, or of an installed one."""
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = SearchConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    ablation: AblationConfig | None = None
    """An ablation that replaces search and confirm, with the seeds of confirm; None means none."""
    resources: ResourcesConfig = ResourcesConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: Path = Field(default_factory=default_storage)
    """The folder of all studies; on a cluster, one that all nodes share.

    The environment variable ``STUDY_STORAGE`` replaces the default."""

    def disagreements(self) -> list[str]:
        """Return the faults of fields that are valid but do not go together, each with its path.

        `study.config.loading.build_config` looks for them once all fields are valid. Those that
        depend on the protocol are the protocol's, see `study.protocols`.
        """
        faults = (*self._faults_of_data(), *self._faults_of_search(), *self._faults_of_the_rest())
        return [message for there, message in faults if there]

    def _faults_of_data(self) -> list[tuple[bool, str]]:
        data = self.data
        return [
            *(
                ("{}" not in text, f"data.templates: '{text}' has no {{}} for the class name")
                for text in data.templates or ()
            ),
            (
                data.targets_root is not None and not data.targets,
                "data.targets_root: has no effect, since data.targets is empty",
            ),
            *(
                (
                    (data.dataset, *data.targets).count(name) > 1,
                    f"data.targets: '{name}' is the source or is named twice",
                )
                for name in dict.fromkeys(data.targets)
            ),
            *(
                (True, f"data.targets: '{name}' is the name of a metric; use another name")
                for name in (*SCORES, "source")
                if name in data.targets
            ),
            (
                data.shots_from is not None and data.val_shots is not None,
                "data.val_shots: has no effect beside data.shots_from, which lists them",
            ),
        ]

    def _faults_of_search(self) -> list[tuple[bool, str]]:
        sites, baselines = self.search.space.sites, self.search.fixed
        terms = {
            text: parse(text).terms for text in (*sites, *(b.subset for b in baselines.values()))
        }
        return [
            (
                not sites,
                "search.space: sites is empty: there is nothing to search; name at least one",
            ),
            *(
                (
                    [(sign, term.layers) for sign, term in terms[site]] != [(1, None)],
                    f"search.space: site '{site}' must be one term without layers",
                )
                for site in sites
            ),
            (len(set(sites)) < len(sites), "search.space: sites names one site twice"),
            (not baselines, "search.baselines: is empty; allowed is one or more"),
            *(
                (True, f"search.baselines.{label}: is a name that results use; use another")
                for label in self.search.baselines
                if label in (*ARMS, *RANKS, *FURTHER)
            ),
            *(  # `TrialSettings` have no such bound, since they also record what was trained
                (
                    rate > HIGHEST_RATE,
                    f"search.baselines.{label}.rates.{kind}: must be at most {HIGHEST_RATE:g}, got "
                    f"{rate:g}",
                )
                for label, baseline in baselines.items()
                for kind, rate in baseline.rates.items()
            ),
            *(
                (
                    kind not in baseline.rates,
                    f"search.baselines.{label}: tunes '{baseline.subset}' and so needs "
                    f"rates.{kind}",
                )
                for label, baseline in baselines.items()
                for kind in kind_names()
                if any(sign > 0 and kind in term.kinds for sign, term in terms[baseline.subset])
            ),
        ]

    def _faults_of_the_rest(self) -> list[tuple[bool, str]]:
        seeds, uri = self.confirm.seeds, self.tracking.uri or ""
        subsets = self.ablation.subsets if self.ablation else {}
        grid = self.ablation is not None and self.ablation.design == "grid"
        return [
            (
                len(set(seeds)) < len(seeds),
                f"confirm: seeds {list(seeds)} name one seed twice",
            ),
            (
                grid != bool(subsets),
                "ablation: subsets belong to the design grid, which needs at least one",
            ),
            ("base" in subsets, "ablation: subsets: 'base' is the name of the base itself"),
            (
                bool(re.search(r"://[^\s]*@", uri) or SECRET_OF_A_QUERY.search(uri)),
                "tracking: uri holds a user name or password, and a configuration is shared; give "
                "it by MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD",
            ),
        ]

    def disagreements_of_search(self) -> list[str]:
        """Return the faults of fields that contradict each other in a study that searches."""
        search = self.search
        fixed = search.fixed
        count = len(search.baselines) - len(search.peers)
        grace = search.asha.grace_period if search.asha is not None else 0
        few = search.trials < 2 * count
        tuned = math.ceil(search.tuned_share * search.trials)
        faults = [
            (
                grace > self.training.epochs,
                f"search.asha.grace_period: {grace} is longer than training.epochs, which is "
                f"{self.training.epochs}; use {self.training.epochs} or fewer, or search.asha: "
                "null for no stopping",
            ),
            *(
                (
                    needed not in fixed,
                    f"search.baselines: must keep '{needed}', which results are compared with",
                )
                for needed in (ZERO_SHOT, "clipfit")
            ),
            *(
                (
                    (fixed[label].head, fixed[label].strength) != ("text", 1.0),
                    f"search.baselines.{label}: is a reference, with head text and strength 1; got "
                    f"head {fixed[label].head} and strength {fixed[label].strength:g}, which need "
                    "another label",
                )
                for label in AS_PUBLISHED
                if label in fixed
            ),
            *(
                (
                    own.calibration != 0.0,
                    f"search.baselines.{label}.calibration: {own.calibration:g} cannot be given in "
                    "a search, which chooses it on the folds; allowed is 0",
                )
                for label, own in fixed.items()
            ),
            (
                few,
                f"search.trials: {search.trials} leaves too few beside the {count} baselines; "
                f"allowed is {2 * count} or more, or 0 for no search",
            ),
            (
                not few and count + tuned >= search.trials,
                f"search.tuned_share: {search.tuned_share} of search.trials, which is "
                f"{search.trials}, beside {count} baselines, leaves none to search subsets",
            ),
        ]
        # A study without baselines has that as a fault of its own.
        return [message for there, message in faults if there and fixed]
