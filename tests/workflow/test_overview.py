"""What a study is in one line."""

import pytest

from study.storage.study_folder import StudyFolder
from study.workflow.overview import summarize_study


def test_a_study_is_described_by_what_it_has(mine: StudyFolder) -> None:
    row = summarize_study(mine)
    assert (row["study"], row["state"], row["trials"]) == ("mine", "interrupted", 2)
    assert row["val_score"] == pytest.approx(0.13)
    assert row["study_id"] == mine.read_identity()["study_id"]
    assert [row[name] for name in ("val_expected", "test_score", "registered")] == [None] * 3


def test_a_damaged_study_has_a_size_and_no_scores(mine: StudyFolder) -> None:
    (mine.path / "identity.json").write_text("{")
    row = summarize_study(mine)
    assert (row["state"], row["trials"], row["val_score"]) == ("damaged", 2, None)
    assert row["bytes"] > 0
