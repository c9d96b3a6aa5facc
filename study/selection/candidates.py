"""The choice of the configurations to test, fixed by validation before the test split is read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from study.config.schema import RANKS, TUNED
from study.errors import StudyError
from study.selection.extension import beside_earlier
from study.storage.ledger import StudyFolder
from study.trial.schema import TrialConfig
from study.trial.study import Candidate, Study


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
        Judged(TrialConfig.model_validate(trial.read_config()), trial.read_reports()[-1])
        for trial in folder.trials()
        if trial.read_config()["stage"] == "search"
        and (end := trial.read_end()) is not None
        and end.status == "finished"
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
                settings=config.settings,
                val_score=judgement.val_score,
                source_trial=config.trial_id,
                same_as=first.get(config.trial_id),
            )
        )
        first.setdefault(config.trial_id, label)
    return candidates


def fix_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the candidates of a study; the first call chooses and writes them.

    They are chosen by validation, and those that were tested before the search was extended stay
    beside them. Without a search they are the baselines.

    Raises:
        StudyError: no trial completed all its epochs.
    """
    if (written := study.candidates()) is not None:
        return written
    config, folder, protocol = study.config, study.folder, study.protocol()
    if not protocol.searches(config):
        baselines = protocol.tested_as_given(config).items()
        return study.choose(Candidate(label=label, settings=own) for label, own in baselines)
    if not (judged := finished_trials(folder)):
        ends = [trial.read_end() for trial in folder.trials()]
        causes = [end.cause for end in ends if end and end.status == "failed" and end.cause]
        raise StudyError(
            f"no trial of {folder.name} ran all its epochs, so there is nothing to confirm; "
            f"the last error was: {causes[-1] if causes else 'none'}"
        )
    chosen = choose_candidates(judged, config.search.baselines, config.confirm.runners_up)
    return study.choose(beside_earlier(study, chosen))
