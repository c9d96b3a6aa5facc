"""The best configuration compared with chance, in a file for the registry and other commands."""

from dataclasses import replace

from study.results.best_configuration import final_candidate
from study.results.chance import ChanceComparison
from study.results.study_result import read_study_result
from study.storage.atomic import with_retries
from study.storage.study_folder import CHANCE, StudyFolder
from study.trial.study import best_candidate


def write_chance(folder: StudyFolder) -> None:
    """Write how the best configuration, and that of the final model, compare with chance.

    They are written by their labels and by those of candidates that equal them. Nothing is written
    if validation has chosen nothing, or if the trials kept no predictions.

    Raises:
        FolderError: a file of the study is damaged.
        StorageError: the folder cannot be read or written.
    """
    trials = folder.path / "trials"
    with_retries(trials, trials.stat, existing=folder.path)  # storage may be away
    result = read_study_result(folder.path)
    chosen = best_candidate(result.candidates), final_candidate(result.candidates)
    tested = {candidate.tested for candidate in chosen if candidate}
    labels = {one.label for one in result.candidates if one.tested in tested}
    # Other candidates are left out, so that their images are not resampled for nothing.
    own = [t for t in result.trial_results if t.stage != "test" or t.label in labels]
    by_label: dict[str, ChanceComparison] = {}
    for row in replace(result, trial_results=own).rows:
        if row.against_chance:
            by_label |= {label: row.against_chance for label in row.labels if label in labels}
    if by_label:
        folder.write_json(CHANCE, by_label)
