"""The number of studies of a storage that were tested on the same images."""

from study.config.loading import load_config
from study.errors import StudyError
from study.storage.study_folder import StudyFolder, studies
from study.trial.predictions import read_predictions


def count_studies_on_same_test(study: StudyFolder) -> int:
    """Count the other studies of the same storage that were tested on images of a study's test.

    Images are known by the paths in the predictions that a study kept, and by their dataset. A
    study that kept none, or whose files are damaged, is not counted.
    """
    tested = _tested_images(study)
    if not tested:
        return 0
    number = 0
    for folder in studies(study.path.parent):
        if folder.path.resolve() != study.path and tested & _tested_images(folder):
            number += 1
    return number


def _tested_images(folder: StudyFolder) -> frozenset[tuple[str, str, str]]:
    """Return the images that a study was tested on, by dataset, its root and path."""
    try:
        data = load_config(folder.config_path, frozen=True).data
        for trial in folder.trials():
            if trial.read_config().get("stage") == "search":
                continue
            predictions = read_predictions(folder, trial.trial_id)
            if predictions:
                root = str(data.root)
                return frozenset((data.dataset, root, image.path) for image in predictions)
    except StudyError:  # a damaged study says so when it is read itself
        pass
    return frozenset()
