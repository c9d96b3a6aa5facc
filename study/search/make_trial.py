"""The trial of a proposal, complete with all that its result depends on."""

from typing import NamedTuple

from study.config.trial_settings import TrialSettings
from study.method.parameters import count_parameters
from study.method.subsets import parse
from study.trial.config_hash import compute_config_hash
from study.trial.study import SPLIT_HASH, Stage, Study, TrialConfig, TrialData


class Proposal(NamedTuple):
    """Settings to train, and what their trial is called."""

    settings: TrialSettings
    group: str
    """The group that proposes them."""
    number: int
    """The number of the trial within its stage."""
    label: str | None = None
    """The label of the trial; None means one that is made from its number."""
    seed: int | None = None
    """The seed of the trial; None means that of the search."""


def make_trial(study: Study, data: TrialData, stage: Stage, proposal: Proposal) -> TrialConfig:
    """Return the trial of a proposal, less settings without an effect, with its config hash.

    Args:
        study: the study.
        data: the data of the trial.
        stage: the stage of the trial.
        proposal: the settings, and what the trial is called.
    """
    training = study.config.training
    architecture = study.architecture
    settings, group, number, label, seed = proposal
    method = settings.method
    subset = parse(settings.subset)
    tensors = subset.resolve(architecture.depths)
    trainable = count_parameters(architecture, tensors)
    epochs = training.epochs if tensors or method else 0
    proposer = "trial"
    if method:
        optimization = {
            "optimizer": method.optimizer,
            "weight_decay": method.weight_decay,
            "regularizer": method.regularizer or training.regularizer,
            "batch_size": method.batch_size or training.batch_size,
        }
        epochs = training.epochs if method.epochs is None else method.epochs
        training = training.model_copy(update=optimization)
        trainable = method.count(architecture)
        proposer = group
    name = f"{number:04d}"
    if stage == "test":
        name = f"{label}-seed{seed}"
    if label is None:
        label = f"{proposer} {number}"
    if seed is None:
        seed = study.config.seed
    trial = TrialConfig(
        trial_id=f"{stage}-{name}",
        stage=stage,
        group=group,
        label=label,
        number=number,
        seed=seed,
        settings=settings.effective(tensors, training.regularizer),
        trainable=trainable,
        epochs=epochs,
        split_hash=data.digest[:SPLIT_HASH],
        training=training,
    )
    config_hash = compute_config_hash(trial, data, architecture)
    return trial.model_copy(update={"config_hash": config_hash})
