"""What a study is in one line."""

import pytest

from study.storage.study_folder import StudyFolder
from study.workflow.overview import summarize_study


def test_a_study_is_described_by_what_it_has(mine: StudyFolder):
    row = summarize_study(mine)
    assert (row["study"], row["state"], row["trials"]) == ("mine", "interrupted", 2)
    assert row["val_score"] == pytest.approx(0.13)
    assert row["study_id"] == mine.read_identity()["study_id"]
    assert [row[name] for name in ("test_score", "registered")] == [None] * 2
