"""The trial of a proposal, complete with all that its result depends on."""

from study.config.trial_settings import HEADS
from study.method.parameters import count_numbers
from study.method.peers import PEERS
from study.method.subsets import parse
from study.search.scheduler import rung_epochs
from study.search.searcher import Proposal
from study.trial.config_hash import compute_config_hash
from study.trial.study import SPLIT_HASH, Stage, Study, TrialConfig, TrialData


def make_trial(
    study: Study,
    data: TrialData,
    stage: Stage,
    proposal: Proposal,
    *,
    label: str | None = None,
    seed: int | None = None,
    **further: object,
) -> TrialConfig:
    """Return the trial of a proposal, less settings without an effect, with its config hash.

    Args:
        study: the study.
        data: the data of the trial.
        stage: the stage of the trial.
        proposal: the settings, and who proposes them.
        label: the label of the trial; None means one that is made from its number.
        seed: the seed of the trial; None means that of the search.
        **further: values of the trial that replace those above.
    """
    training = study.config.training
    architecture = study.architecture
    settings = proposal.settings
    peer = settings.peer
    subset = parse(settings.subset)
    leaves = subset.resolve(architecture.depths)
    trainable = count_numbers(architecture, leaves)
    proposer = "trial"
    if peer:
        row = PEERS[peer.method]
        optimization = {
            "optimizer": peer.optimizer,
            "weight_decay": peer.weight_decay,
            "regularizer": row.regularizer or training.regularizer,
        }
        training = training.model_copy(update=optimization)
        trainable = row.count(architecture, peer.numbers)
        proposer = proposal.arm
    epochs = training.epochs if leaves or peer else 0
    scored_at = None
    if stage == "search":
        scored_at = rung_epochs(study.config.search.asha, training.epochs)
    heads = {settings.head, *study.config.search.heads}
    if study.config.ablation or stage == "final":
        heads = {settings.head}
    name = f"{proposal.number:04d}"
    if stage == "confirm":
        name = f"{label}-seed{seed}"
        # Zero-shot CLIP and the linear head are one training, whichever heads the search has.
        candidates = study.candidates() or ()
        heads.update(one.settings.head for one in candidates if one.training == label)
    if label is None:
        label = f"{proposer} {proposal.number}"
    if seed is None:
        seed = study.config.seed
    trial = TrialConfig(
        trial_id=f"{stage}-{name}",
        stage=stage,
        arm=proposal.arm,
        label=label,
        number=proposal.number,
        seed=seed,
        settings=settings.effective(leaves, training.regularizer),
        subset_key=subset.key(architecture.depths),
        trainable=trainable,
        epochs=epochs,
        split_hash=data.digest[:SPLIT_HASH],
        training=training,
        scored_at=scored_at,
        heads=tuple(head for head in HEADS if head in heads),
    )
    trial = trial.model_copy(update=further)
    config_hash = compute_config_hash(trial, data, architecture.checkpoint)
    return trial.model_copy(update={"config_hash": config_hash})
