"""The command ``predict``: its words; what it writes is tested where that is made."""

from collections.abc import Callable

import pytest

from study.storage.study_folder import StudyFolder


def test_a_model_is_looked_for_before_images_are(
    mine: StudyFolder, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.workflow.image_labels.find_images", lambda _: pytest.fail("looked"))
    told = refused("predict", "nosuch", "images", "storage=runs")
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
    assert "A model is a study, a registered model" in told
