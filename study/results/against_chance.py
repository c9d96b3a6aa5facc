"""What validation chose beside chance, as the registry and other commands have to know it."""

from dataclasses import replace

from study.protocols import Protocol
from study.results.leaderboard import leaderboard
from study.results.study_results import Results, read_results
from study.selection.chance import AgainstChance, write_against_chance
from study.storage.atomic import with_retries
from study.storage.study_folder import StudyFolder
from study.trial.study import best_candidate, candidate_to_register


def fix_chance(folder: StudyFolder, protocol: Protocol | None = None) -> None:
    """Write how the choice of a study, and what is registered of it, do beside chance.

    Nothing is written of a study that has chosen nothing, or whose trials kept no predictions.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, if it is not found by its name.

    Raises:
        LedgerError: a file of the study is damaged.
        StorageError: the folder cannot be read or written.
    """
    trials = folder.path / "trials"
    with_retries(trials, trials.stat, existing=folder.path)  # storage may be away
    known = against_chance(read_results(folder.path, protocol))
    if known:
        write_against_chance(folder, known)


def against_chance(results: Results) -> dict[str, AgainstChance]:
    """Return how the choice, and what is registered of it, do beside chance.

    They are by the label under which they were trained. What is not known is left out.
    """
    choices = [best_candidate(results.candidates), candidate_to_register(results.candidates)]
    labels = {choice.same_as or choice.label for choice in choices if choice is not None}
    if not labels:
        return {}
    # The others have no part in it, and their images need not be drawn again.
    trials = [t for t in results.trials if t.stage != "confirm" or t.label in labels]
    board = leaderboard(replace(results, trials=tuple(trials)))
    known = {}
    for label in labels:
        entry = board.find_entry(label)
        if entry is not None and entry.against_chance is not None:
            known[label] = entry.against_chance
    return known
