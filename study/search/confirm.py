"""The stage that tests: every candidate is trained again on the shots of each seed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from study.search.queues import TakeOver, run_queue
from study.search.searcher import Observer
from study.search.stages import make_trial
from study.selection.sequential import looks, stopped
from study.storage.ledger import StudyFolder
from study.trial import Stage, TrialData
from study.trial.study import Candidate, Study


def run_confirm(
    study: Study,
    candidates: Sequence[Candidate],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    *,
    stage: Stage = "confirm",
    take_over: TakeOver | None = None,
    telling: Callable[[Sequence[str], int], None] = lambda sentences, trials: None,
) -> None:
    """Train every candidate on each seed's shots and test it.

    If the study is sequential, a candidate that is told apart from the winner gets no more seeds.

    Args:
        study: the study.
        candidates: the candidates; one that equals another is skipped.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        stage: ``confirm``, or ``ablation`` if the candidates are its cells.
        take_over: see `run_queue`.
        telling: told of those that get no more seeds, and of the number of trials of the stage.
    """
    seeds = tuple(data)
    ends = (*(looks(len(seeds)) if study.config.confirm.sequential else ()), len(seeds))
    apart = max(1000, len(candidates))  # an ablation's trials have their names by their numbers
    known: dict[str, int] = {}
    for begin, end in pairwise((0, *ends)):
        wanted = [
            make_trial(
                *(study, data[seeds[number]], stage, candidate.settings, candidate.label),
                number * apart + index,
                label=candidate.label,
                seed=seeds[number],
            )
            for number in range(begin, end)
            for index, candidate in enumerate(candidates)
            if candidate.same_as is None and candidate.label not in known
        ]
        run_queue(study, stage, wanted, data, observers, take_over)
        if end == len(seeds):
            continue
        found = stopped(candidates, scores_on_test(study.folder, candidates, seeds[:end]), seeds)
        sentences = [
            f"{label}: differs from the winner beyond noise after {count} of {len(seeds)} seeds, "
            "and is trained with no more"
            for label, count in found.items()
            if label not in known
        ]
        known = found
        each = (known.get(c.label, len(seeds)) for c in candidates if c.same_as is None)
        telling(sentences, sum(each))


def scores_on_test(
    folder: StudyFolder, candidates: Iterable[Candidate], seeds: Iterable[int]
) -> dict[str, dict[int, float]]:
    """Return the test score of each seed of each candidate that was trained, a fraction."""
    trials = {
        (candidate.label, seed): folder.trial(f"confirm-{candidate.label}-seed{seed}")
        for candidate in candidates
        for seed in seeds
        if candidate.same_as is None
    }
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for (label, seed), trial in trials.items():
        if (end := trial.read_end()) and end.status == "finished":
            scores[label][seed] = trial.read_reports()[-1]["test_score"]
    return scores
