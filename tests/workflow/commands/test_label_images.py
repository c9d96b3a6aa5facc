"""The command ``predict``: its words; what it writes is tested where that is made."""

import pytest

from study.commands import main
from study.storage.study_folder import StudyFolder


def test_a_model_is_looked_for_before_images_are(
    mine: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("study.workflow.image_labels.find_images", lambda _: pytest.fail("looked"))
    assert main(["predict", "nosuch", "images", "storage=runs"]) == 2
    told = capsys.readouterr().err
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
    assert "A model is a study, a registered model" in told
