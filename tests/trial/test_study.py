"""A study as its parts share it, and the types of a trial."""

from pathlib import Path
from unittest.mock import Mock

import pytest

import study.trial.study as module
from study.config.loading import build_config, dump_config
from study.data import datasets
from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.trial.study import BEST, Candidate, Study, best_candidate
from tests.settings import settings


@pytest.fixture
def mine(tmp_path: Path) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path)}, "test")
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {})
    return Study(config, folder)


BEST_ONE = Candidate(
    label=BEST,
    settings=settings("vision.ln", None, 0.1),
    val_score=0.9,
    source_trial="search-0003",
    training="0123456789ab",
    search_trials=48,
)


def test_data_and_checkpoint_are_read_once(mine: Study, monkeypatch: pytest.MonkeyPatch):
    readers = Mock(wraps=datasets.load_dataset), Mock(wraps=module.read_architecture)
    monkeypatch.setattr(datasets, "load_dataset", readers[0])
    monkeypatch.setattr(module, "read_architecture", readers[1])
    for _ in range(3):
        assert mine.dataset.name == "digits"
        assert mine.architecture.image_size
    assert [read.call_count for read in readers] == [1, 1]


def test_every_option_of_a_dataset_reaches_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(datasets, "load_dataset", load := Mock())
    given = {"columns": {"image": "img"}, "splits": {"test": "holdout"}, "revision": "abc"}
    values = {"storage": str(tmp_path), "data": {"dataset": "hf:owner/name", **given}}
    assert Study(build_config(values, "test"), StudyFolder(tmp_path)).dataset
    options = load.call_args.kwargs
    assert options.keys() == {"templates", "reading", *datasets.READER_OPTIONS}
    assert given.items() <= options.items()


def test_a_choice_is_read_once_it_is_there(mine: Study):
    other = Study(mine.config, mine.folder)
    assert mine.candidates() is other.candidates() is best_candidate(mine.candidates()) is None
    assert mine.write_candidates([BEST_ONE]) == (BEST_ONE,)
    assert other.candidates() == (BEST_ONE,)
    assert best_candidate(other.candidates()) == BEST_ONE
    earlier = BEST_ONE.as_earlier()
    assert earlier.as_earlier().label == earlier.label == "best-of-48"
    (mine.folder.path / "candidates.json").write_text("[]")
    with pytest.raises(FolderError, match=r"candidates\.json"):
        Study(mine.config, mine.folder).candidates()
