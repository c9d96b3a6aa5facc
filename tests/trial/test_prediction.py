"""A prediction as it is written and read again."""

from pathlib import Path

from study.storage.study_folder import StudyFolder
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet, read_predictions


def test_a_prediction_needs_no_more_than_what_every_protocol_has(tmp_path: Path):
    plain = Prediction("text", "accuracy", "1.png", "cat", "dog", 0.5)
    file = StudyFolder(tmp_path).trial("one").path / "predictions.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(predictions_to_parquet([plain]))
    assert read_predictions(StudyFolder(tmp_path), "one") == [plain]
