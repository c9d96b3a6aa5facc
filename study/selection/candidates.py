"""The choice of the configurations to test, fixed by validation before the test split is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from study.config.schema import RANKS, TUNED, BaselineConfig
from study.errors import StudyError
from study.storage.ledger import StudyFolder, TrialFolder
from study.trial import TrialConfig


@dataclass(frozen=True)
class Candidate:
    """A configuration that the stage ``confirm`` tests."""

    label: str
    subset: str
    bias_lr: float | None
    ln_lr: float | None
    distill_weight: float
    val_score: float | None
    """The validation score, a fraction; None if nothing was searched."""
    source_trial: str | None
    """The id of the search trial that it comes from; None if nothing was searched."""
    same_as: str | None = None
    """The label of an equal candidate that is trained instead of this one."""


@dataclass(frozen=True)
class Judged:
    """A trial that completed all its epochs, with its validation metrics after the last."""

    config: TrialConfig
    metrics: dict[str, float]

    @property
    def val_score(self) -> float:
        """The validation score, a fraction, by which trials are ranked."""
        return self.metrics["val_score"]


def finished_trials(folder: StudyFolder) -> list[Judged]:
    """Return the search's trials that completed all their epochs, best first.

    Of equal scores, the one with fewer tuned parameters comes first, then the earlier trial.
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
    """Return the configurations to test: baselines, tuned CLIPFit, the winner and the runners-up.

    A baseline can win too. Tuned CLIPFit is the best of CLIPFit's own search and the baseline
    ``clipfit``, which has the published rates.

    Args:
        judged: the finished trials, best first.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the winner.
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
    """Choose the candidates and write them; a resumed study returns those it wrote.

    Args:
        folder: the study's folder.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the winner.
        complete: a function that may add to the chosen candidates before they are written.

    Raises:
        StudyError: no trial completed all its epochs.
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
    """Return the baselines as the candidates of a study without a search, and write them once."""
    candidates = [
        Candidate(
            label=label,
            subset=baseline.subset,
            bias_lr=baseline.bias_lr,
            ln_lr=baseline.ln_lr,
            distill_weight=baseline.distill_weight,
            val_score=None,
            source_trial=None,
        )
        for label, baseline in baselines.items()
    ]
    if folder.read_json("candidates.json") is None:
        folder.write_json("candidates.json", [asdict(candidate) for candidate in candidates])
    return candidates


def _is_finished_search(trial: TrialFolder) -> bool:
    end = trial.end
    return trial.config["stage"] == "search" and end is not None and end.status == "finished"
