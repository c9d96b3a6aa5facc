"""The command ``labels``: its words; what it writes is tested where that is made."""

from collections.abc import Callable

from study.storage.study_folder import StudyFolder


def test_a_study_is_looked_for_where_the_word_says(mine: StudyFolder, refused: Callable[..., str]):
    told = refused("labels", "nosuch", "storage=runs", "--all")
    assert "no study 'nosuch' in runs; studies there: 'mine'" in told
