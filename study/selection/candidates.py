"""Choosing by validation alone: what goes into confirm, fixed before the test split is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from study.config.schema import RANKS, TUNED, BaselineConfig, StudyConfig
from study.errors import StudyError
from study.storage.ledger import StudyFolder, TrialFolder
from study.trial import TrialConfig


@dataclass(frozen=True)
class Candidate:
    """A configuration that is confirmed on test."""

    label: str
    subset: str
    bias_lr: float | None
    ln_lr: float | None
    distill_weight: float
    val_score: float | None
    source_trial: str | None
    """None where nothing was searched."""
    same_as: str | None = None
    """The label of an equal candidate, which is then trained in its stead."""


@dataclass(frozen=True)
class Judged:
    """A trial that ran all its epochs, with its validation metrics after the last."""

    config: TrialConfig
    metrics: dict[str, float]

    @property
    def val_score(self) -> float:
        """What trials are ranked by."""
        return self.metrics["val_score"]


def finished_trials(folder: StudyFolder) -> list[Judged]:
    """Give the search's trials that ran all their epochs, the best first.

    Among equal scores the fewer parameters win, then the earlier trial.
    """
    judged = [
        Judged(TrialConfig.model_validate(trial.config), trial.reports[-1])
        for trial in folder.trials()
        if _is_finished_search(trial)
    ]
    return sorted(judged, key=lambda j: (-j.val_score, j.config.trainable, j.config.number))


def choose_candidates(
    judged: Sequence[Judged], baselines: Iterable[str], runners_up: int
) -> list[Candidate]:
    """Fix what is confirmed: baselines, tuned CLIPFit, the winner and the next best.

    Every baseline is a candidate for the win. Tuned CLIPFit is the best of CLIPFit's own search,
    the published rates included.
    """
    named = {j.config.label: j for j in judged if j.config.arm == "baseline"}
    chosen = [(label, named[label]) for label in baselines if label in named]
    own_search = [j for j in judged if j.config.arm == TUNED or j.config.label == "clipfit"]
    chosen += [(TUNED, own_search[0])] if own_search else []
    chosen += list(zip(RANKS, judged[: runners_up + 1], strict=False))
    candidates: list[Candidate] = []
    first: dict[str, str] = {}
    for label, judgement in chosen:
        config = judgement.config
        candidates.append(
            Candidate(
                label=label,
                subset=config.subset,
                bias_lr=config.bias_lr,
                ln_lr=config.ln_lr,
                distill_weight=config.distill_weight,
                val_score=judgement.val_score,
                source_trial=config.trial_id,
                same_as=first.get(config.trial_id),
            )
        )
        first.setdefault(config.trial_id, label)
    return candidates


def fix_candidates(
    folder: StudyFolder,
    baselines: Iterable[str],
    runners_up: int,
    complete: Callable[[Sequence[Candidate]], list[Candidate]] = list,
) -> list[Candidate]:
    """Choose once and write it down; a resumed study keeps the choice.

    ``complete`` may put more beside what is chosen.
    """
    if (written := folder.read_json("candidates.json")) is None:
        judged = finished_trials(folder)
        if not judged:
            ends = [trial.end for trial in folder.trials()]
            causes = [end.cause for end in ends if end and end.status == "failed" and end.cause]
            raise StudyError(
                f"no trial of {folder.name} ran all its epochs, so there is nothing to confirm; "
                f"the last error was: {causes[-1] if causes else 'none'}"
            )
        candidates = complete(choose_candidates(judged, baselines, runners_up))
        written = [asdict(candidate) for candidate in candidates]
        folder.write_json("candidates.json", written)
    return [Candidate(**values) for values in written]


def candidates_without_search(
    folder: StudyFolder, baselines: Mapping[str, BaselineConfig]
) -> list[Candidate]:
    """Fix the baselines themselves as what is tested, where a study searches nothing."""
    candidates = [
        Candidate(
            label=label,
            subset=given.subset,
            bias_lr=given.bias_lr,
            ln_lr=given.ln_lr,
            distill_weight=given.distill_weight,
            val_score=None,
            source_trial=None,
        )
        for label, given in baselines.items()
    ]
    if folder.read_json("candidates.json") is None:
        folder.write_json("candidates.json", [asdict(candidate) for candidate in candidates])
    return candidates


def selection_used(config: StudyConfig, report: Mapping[str, float]) -> str:
    """Name the rule that trials were judged by; ``report`` tells what auto came to."""
    if config.search.selection != "auto":
        return config.search.selection
    if config.protocol == "base_to_new":
        return "class_folds" if report.get("val_new") is not None else "base"
    return config.image_rule


def _is_finished_search(trial: TrialFolder) -> bool:
    end = trial.end
    return trial.config["stage"] == "search" and end is not None and end.status == "finished"
