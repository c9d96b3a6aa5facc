"""The choice of validation compared with chance, for the registry and other commands."""

from dataclasses import replace

from study.protocols import Protocol
from study.results.chance import AgainstChance
from study.results.chosen_configuration import final_candidate
from study.results.leaderboard import leaderboard
from study.results.study_results import Results, read_results
from study.storage.atomic import with_retries
from study.storage.study_folder import CHANCE, StudyFolder
from study.trial.study import best_candidate


def fix_chance(folder: StudyFolder, protocol: Protocol | None = None) -> None:
    """Write the comparison with chance of a study's choice, and of the candidate to register.

    Nothing is written if the study has chosen nothing, or if its trials kept no predictions.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, if it is not found by its name.

    Raises:
        LedgerError: a file of the study is damaged.
        StorageError: the folder cannot be read or written.
    """
    trials = folder.path / "trials"
    with_retries(trials, trials.stat, existing=folder.path)  # storage may be away
    by_label = against_chance(read_results(folder.path, protocol))
    if by_label:
        folder.write_json(CHANCE, by_label)


def against_chance(results: Results) -> dict[str, AgainstChance]:
    """Compare the choice, and the candidate to register, with chance.

    Returns:
        The comparisons by the labels of these candidates and of those that equal them, without
        comparisons that cannot be made.
    """
    chosen = best_candidate(results.candidates), final_candidate(results.candidates)
    tested = {candidate.tested for candidate in chosen if candidate}
    labels = {one.label for one in results.candidates if one.tested in tested}
    # Other candidates are left out, so that their images are not resampled for nothing.
    trials = [t for t in results.trials if t.stage != "test" or t.label in labels]
    board = leaderboard(replace(results, trials=trials))
    by_label = {}
    for label in labels:
        entry = board.find_entry(label)
        if entry and entry.against_chance is not None:
            by_label[label] = entry.against_chance
    return by_label
