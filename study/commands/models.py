"""The tuned model that a command names: of a study, of the model registry, or of a file."""

from pathlib import Path

from study import tracking
from study.commands.find import REGISTERED, find_study_of_model
from study.commands.frozen_configuration import frozen_config
from study.serving.saved_model import SavedModel, read_saved_model, read_winner
from study.trial.study import Study


def find_model(word: str, scratch: Path, storage: str | Path | None = None) -> SavedModel:
    """Return the model that a command names.

    Args:
        word: a study's name or folder, the address of a registered model, or the path of a delta.
        scratch: an empty folder, which the model may need until it is loaded.
        storage: see `study.commands.find.find_study`.

    Raises:
        StudyError: there is no such model, or the study has no winner.
    """
    if word.startswith(REGISTERED):
        return tracking.MlflowTracker().download_model(word, scratch)
    folder = find_study_of_model(word, storage)
    if folder is None:
        return read_saved_model(Path(word))
    return read_winner(Study(frozen_config(folder), folder), scratch)
