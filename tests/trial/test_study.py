"""A study as its parts share it: read once, and what was chosen kept."""

from pathlib import Path

import pytest
from settings import settings

import study.trial.study as module
from study.config.loading import build_config, dump_config
from study.storage.ledger import LedgerError, StudyFolder
from study.trial.study import BEST, Candidate, Study


@pytest.fixture
def mine(tmp_path: Path) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path)}, "test")
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {})
    return Study(config, folder)


def best(score: float = 0.9) -> Candidate:
    own = settings("vision.ln", None, 0.1)
    return Candidate(label=BEST, settings=own, val_score=score, source_trial="search-0003")


def test_data_and_checkpoint_are_read_once(mine: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    for name in ("load_dataset", "read_architecture"):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, real=real, **k: (read.append(real), real(*a, **k))[1]
        )
    for _ in range(3):
        assert mine.dataset().name == "digits"
        assert mine.architecture().image_size
    assert len(read) == 2


def test_a_choice_is_looked_for_until_it_is_there_and_then_kept(mine: Study) -> None:
    other = Study(mine.config, mine.folder)
    assert mine.candidates() is other.candidates() is mine.best() is None
    assert mine.choose([best()]) == (best(),)
    assert other.candidates() == (best(),)
    assert other.best() == best()
    mine.folder.write_json("candidates.json", [])
    assert other.candidates() == (best(),)


def test_a_choice_of_an_earlier_version_is_read(mine: Study) -> None:
    flat = {"subset": "vision.ln", "bias_lr": None, "ln_lr": 0.1, "distill_weight": 0.0}
    own = {"label": BEST, "val_score": 0.9, "source_trial": "search-0003", "same_as": None}
    mine.folder.write_json("candidates.json", [own | flat])
    mine.folder.write_json("cells.json", {"base": flat})
    assert mine.candidates() == (best(),)
    assert mine.cells() == {"base": best().settings}


def test_cells_are_kept_too(mine: Study) -> None:
    assert mine.cells() is None
    assert mine.fix_cells({"base": settings("ln", None, 0.1)}) == mine.cells()
    assert Study(mine.config, mine.folder).cells() == {"base": settings("ln", None, 0.1)}


def test_a_damaged_choice_is_an_error(mine: Study) -> None:
    mine.choose([best()])
    (mine.folder.path / "candidates.json").write_text("[]")
    with pytest.raises(LedgerError, match=r"candidates\.json"):
        Study(mine.config, mine.folder).candidates()
