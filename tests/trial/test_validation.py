"""What a trial of a search keeps of validation images."""

from pathlib import Path

import pytest

from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import VALIDATION, End, TrialFolder
from study.trial.predictions import read_validation, validation_to_parquet
from study.trial.study import Prediction
from tests.not_none import not_none


def predicted(*paths: str) -> list[Prediction]:
    return [
        Prediction("text", "accuracy", path, "a", "b", 0.5, true_probability=0.25, fold=fold)
        for fold, path in enumerate(paths)
    ]


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    folder = StudyFolder(tmp_path / "mine")
    folder.create("", {})
    trial = folder.trial("search-0000")
    trial.create({})
    return trial


def test_every_image_is_kept_with_the_fold_whose_model_saw_it(trial: TrialFolder):
    assert read_validation(trial) is None
    text = predicted("0.png", "1.png", "0.png")
    linear = [one._replace(head="linear", predicted="a") for one in text]
    trial.write(VALIDATION, validation_to_parquet([*linear, *text]))
    trial.append_report({"epoch": 1, "head": "text"})
    table = not_none(read_validation(trial))
    assert table.to_pylist() == [
        {"fold": fold, "head": "text", "path": path, "part": "accuracy"}
        | {"label": "a", "predicted": "b", "probability": 0.5, "true_probability": 0.25}
        for fold, path in ((0, "0.png"), (1, "1.png"), (2, "0.png"))
    ]


def test_a_damaged_file_is_named(trial: TrialFolder):
    trial.write(VALIDATION, b"PAR1 no more")
    with pytest.raises(FolderError, match=r"validation\.parquet is damaged"):
        read_validation(trial)


def test_what_a_trial_kept_is_under_its_checksums_and_goes_when_it_is_trained_again(
    trial: TrialFolder,
):
    trial.append_report({"epoch": 1})
    trial.write(VALIDATION, validation_to_parquet(predicted("0.png")))
    trial.write_end(End("finished", 1, 1.0))
    assert trial.damaged() == []
    (trial.path / VALIDATION).write_bytes(b"other")
    assert trial.damaged() == [VALIDATION]
    trial.reopen()
    assert not (trial.path / VALIDATION).exists()
