"""The configuration of a study: one frozen schema with every default in it."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
)

from study.backbones.description import EMBEDDED
from study.config.search_section import SearchConfig
from study.config.section import Section
from study.config.trial_settings import KnownKind, SubsetText
from study.config.value_types import (
    NAME,
    Count,
    DataFolder,
    Decay,
    Label,
    ObjectName,
    Place,
    Rates,
    Seed,
    expand_home,
    refuse_variables,
)
from study.data.records import OnCorrupt
from study.data.shots import ALL, All, Short
from study.method.parameters import kind_names
from study.method.training_options import (
    DISTILL_WEIGHT,
    LEARNING_RATE,
    MAX_WEIGHT,
    MOMENTUM,
    WEIGHT_DECAY,
    Optimizer,
    Precision,
    Regularizer,
    WantedBalance,
    WantedPrecision,
)
from study.storage.command_lines import default_storage

WITHOUT_EFFECT = ("resources.", "tracking.")
"""The beginnings of the keys on which no trial's result depends."""


FinalImages = Literal["shots", "labelled", "everything"]
"""The images that the final model may be trained on."""


def _check_rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first number must be below the second")
    return bounds


PixelRange = Annotated[tuple[StrictFloat, StrictFloat], AfterValidator(_check_rising)]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression: {error}") from error
    return pattern


def _check_gpus(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():  # Ray assigns no such share
        raise ValueError("must be a whole number, or a fraction below 1")
    return gpus


class DataConfig(Section):
    """The dataset, and how its images are drawn, read and described."""

    dataset: str = Field("digits", min_length=1)
    """A dataset of this package, ``hf:owner/name``, or any name for your own at ``root``."""
    root: DataFolder | None = None
    """The folder of the images; packaged and hub datasets need none."""
    shots: Annotated[
        Annotated[Count, Tag("[number]")] | Annotated[All, Tag("[all]")],
        Discriminator(lambda shots: "[all]" if shots == ALL else "[number]"),
    ] = 16
    """The number of labelled training images per class, or ``all``."""
    val_shots: StrictInt | None = Field(None, ge=0, le=100_000)
    """The number of validation images per class, in addition to the shots; 0 requires folds. None
    means min(shots, 4). With ``shots: all``, it means the dataset's validation images, or a fifth
    of each class if there are none."""
    short: Short = "fail"
    """What to do if a class has fewer than ``shots`` images: ``fail``, or ``take_all``."""
    shots_from: DataFolder | None = None
    """A folder of published few-shot splits; None draws the shots at random."""
    templates: tuple[str, ...] | None = Field(None, min_length=1)
    """Prompts with ``{}`` for the class name; training uses the first. None means the dataset's."""
    ensemble: bool = False
    """Whether to average the text features of all templates.

    Unless ``templates`` is set, seven of CLIP's templates are added."""
    columns: dict[Literal["path", "label", "class_name", "split", "image", "group"], str] | None = (
        None
    )
    """Column names of a table or Hugging Face dataset that are not the default: part → name."""
    groups: Annotated[str, AfterValidator(_check_pattern)] | None = None
    """A regular expression that finds the group of an image, such as a patient, in its path below
    ``root``: the first capture group, or the whole match. It replaces the column ``group``.

    All images of a group are on the same side of a split or fold."""
    splits: dict[Literal["train", "val", "test"], str] | None = None
    """Split names of a Hugging Face dataset that are not the default: split → name."""
    subset: str | None = None
    """The configuration to load, if a Hugging Face dataset has several."""
    revision: str | None = None
    """The branch, tag or commit of a hub dataset."""
    targets: tuple[str, ...] = ()
    """Further datasets to test on, for the protocols transfer and zero_shot."""
    targets_root: DataFolder | None = None
    """The folder of the targets; None means ``root``. It contains your own target as a folder or
    table with the target's name."""
    augment: bool = True
    """Whether training images are cropped, resized and flipped at random."""
    on_corrupt: OnCorrupt = "fail"
    """What to do if an image cannot be decoded: ``fail``, or ``skip`` and log it."""
    pixel_range: PixelRange | None = None
    """The pixel values of black and white in images of more than 8 bits, including the targets.

    None means the full range of 16-bit images, and 0 to 1 for floating-point ones."""


class BackboneConfig(Section):
    """The frozen CLIP checkpoint."""

    name: str = Field(EMBEDDED, min_length=1)
    """A hub name, a local folder, or ``embedded`` for the small checkpoint in this package."""
    revision: str | None = None
    """A commit of the hub, so that everyone loads the same weights."""

    @field_validator("name")
    @classmethod
    def _make_absolute(cls, name: str) -> str:
        """Return a local folder as an absolute path, which workers and later readers can find."""
        refuse_variables(name)
        if name.startswith("~"):
            name = expand_home(name)
        is_folder = name != EMBEDDED and os.path.isdir(name)  # noqa: PTH112 -- no error
        return os.path.abspath(name) if is_folder else name  # noqa: PTH100 -- links stay


class TrainingConfig(Section):
    """The training settings that all trials share."""

    epochs: Count = 100
    """The number of epochs of a trial, the warm-up included."""
    batch_size: StrictInt = Field(32, ge=1, le=65_536)
    """The number of images in a training step."""
    eval_batch_size: StrictInt = Field(256, ge=1, le=65_536)
    """The number of images that are evaluated at once."""
    optimizer: Optimizer = "sgd"
    """The optimizer: ``sgd``, as in the paper, or ``adamw``."""
    momentum: StrictFloat = Field(MOMENTUM, ge=0, lt=1)
    """The momentum of ``sgd``; ``adamw`` ignores it."""
    weight_decay: Decay = WEIGHT_DECAY
    """The weight decay of every tuned parameter."""
    regularizer: Regularizer = "cosine"
    """The loss term with weight λ: the paper's distillation (``cosine``), the squared distance of
    the tuned parameters from their initial values (``l2_init``), or ``none``."""
    balance: WantedBalance = "auto"
    """How training corrects for classes of unequal size: ``logit_adjusted`` adds the logarithm of
    each class's share to its logit in training, ``weights`` divides losses by the share. ``auto``
    is ``logit_adjusted`` if one class has more than twice the training images of another, else
    ``none``."""
    precision: WantedPrecision = "float32"
    """The precision of the encoders and their frozen matrices: ``float32``, ``bfloat16``, or
    ``auto``, the faster one, measured when the study starts. Tuned parameters, features and losses
    are float32. A CPU without bfloat16 instructions computes in float32."""

    @property
    def trial_precision(self) -> Precision:
        """The precision of a trial.

        Raises:
            ValueError: it is still ``auto``, which the start of a study replaces.
        """
        if self.precision == "auto":
            raise ValueError(
                "precision is 'auto'; expected the precision that the start of a study measures"
            )
        return self.precision


class TestConfig(Section):
    """The test of the selected configurations, the only stage that reads the test split."""

    seeds: tuple[Seed, ...] = Field((1, 2, 3, 4, 5), min_length=2, max_length=1000)
    """The seeds of the test; each has its own shots and batch order. zero_shot ignores them."""
    runners_up: StrictInt = Field(2, ge=0, le=8)
    """The number of configurations tested besides the best one and the baselines."""


class FinalConfig(Section):
    """The final model, which is registered, exported and used for predictions."""

    images: FinalImages = "labelled"
    """The images of the final training: ``labelled`` (shots and validation images), or
    ``everything`` (all splits, so the final model can't be tested). ``shots`` trains no further
    model: the final model is that of the first test seed."""


class AblationConfig(Section):
    """A comparison of subsets (cells), each at the best of the same learning rates."""

    design: Literal["only_one", "leave_one_out", "layers", "grid"]
    """The subsets to compare.

    ``only_one``: each site alone; ``leave_one_out``: the base without each of its sites;
    ``layers``: the base in windows of layers; ``grid``: those in ``subsets``."""
    base: SubsetText = "clipfit"
    """The subset with which every cell is compared."""
    sites: tuple[SubsetText, ...] | None = Field(None, min_length=1)
    """The sites that ``only_one`` and ``leave_one_out`` vary.

    None means all sites of ``search.space`` for ``only_one``, and of the base for
    ``leave_one_out``."""
    subsets: dict[Label, SubsetText] = Field(default_factory=dict)
    """The subsets of ``grid``, by the name of the cell."""
    windows: Literal["sliding", "from_bottom", "from_top"] = "sliding"
    """The windows of ``layers``: ``width`` layers at each position (``sliding``), or 1, 2, … layers
    from one end (``from_bottom``, ``from_top``)."""
    width: StrictInt = Field(1, ge=1, le=1000)
    """The number of layers in a sliding window."""
    rates: Annotated[
        Annotated[Rates, Tag("[list]")]
        | Annotated[dict[KnownKind, Rates], Field(min_length=1), Tag("[mapping]")],
        Discriminator(lambda rates: "[mapping]" if isinstance(rates, Mapping) else "[list]"),
    ] = (LEARNING_RATE,)
    """Learning rates to try in each cell: a list for all kinds of parameter, or one for each kind.

    A single rate is tested without validation."""
    distill_weight: StrictFloat = Field(DISTILL_WEIGHT, ge=0, le=MAX_WEIGHT)
    """λ of every cell in which the text encoder is tuned."""

    def rates_for(self, kind: str) -> tuple[float, ...]:
        """Return the rates to try for a kind of parameter, each once; empty if it has none."""
        rates = self.rates
        if isinstance(rates, dict):
            rates = rates.get(kind, ())
        return tuple(dict.fromkeys(rates))

    @property
    def chooses_rates(self) -> bool:
        """Whether there are several rates to choose from."""
        return any(len(self.rates_for(kind)) > 1 for kind in kind_names())


class ResourcesConfig(Section):
    """The resources of one trial; the number of trials at once follows from the cluster."""

    cpus_per_trial: StrictFloat = Field(1, gt=0, le=10_000)
    """CPU cores of a trial."""
    gpus_per_trial: Annotated[StrictFloat, AfterValidator(_check_gpus)] = Field(0, ge=0, le=1000)
    """GPUs of a trial, a whole number or a fraction of one: 0.25 lets four trials share a GPU."""
    max_concurrent: Count | None = None
    """The maximum number of trials at once.

    None means as many as fit; on a cluster, one more waits, so that an autoscaler adds a machine.
    With a number, the autoscaler sees that many trials."""
    max_failures: StrictInt = Field(3, ge=0, le=10_000)
    """The maximum number of times that a trial continues after its worker died."""
    max_epoch_seconds: StrictFloat | None = Field(21_600, gt=0, le=31_536_000)
    """The maximum seconds of an epoch with its evaluation; its worker is replaced if it takes
    longer. None means no limit."""

    @property
    def threads(self) -> int:
        """The number of PyTorch threads of a trial, limited so that trials share the machine."""
        return max(1, int(self.cpus_per_trial))


class TrackingConfig(Section):
    """Where a study's results are stored besides its folder."""

    tracker: ObjectName = "mlflow"
    """``mlflow``, ``none``, or the tracker of an installed package."""
    uri: Annotated[str, AfterValidator(refuse_variables)] | None = None
    """The tracking server or store.

    None means ``$MLFLOW_TRACKING_URI``, else a SQLite store in the working folder."""
    experiment: str = Field("clipfit-study", min_length=1)
    """The name of the MLflow experiment."""
    system_metrics: bool = False
    """Whether the study's run records MLflow's system metrics of the machine that started the
    study."""


class StudyConfig(Section):
    """A whole study; each field can be set in YAML or as ``section.field=value``.

    Each value is validated here; `study.config.rules` checks whether they fit together.
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
    test: TestConfig = TestConfig()
    final: FinalConfig = FinalConfig()
    ablation: AblationConfig | None = None
    """An ablation, which replaces the search; its cells are tested with ``test.seeds``."""
    resources: ResourcesConfig = ResourcesConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: Place = Field(default_factory=default_storage)
    """The folder of all studies; on a cluster, one that all nodes share.

    The environment variable ``STUDY_STORAGE`` replaces the default."""

    def with_section(self, section: str, **changes: object) -> Self:
        """Return the configuration with other values of a section, which are not validated."""
        changed = getattr(self, section).model_copy(update=changes)
        return self.model_copy(update={section: changed})
