"""What is made of a study's results."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.workflow.outputs import write_outputs
from tests.written_study import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def test_the_views_of_a_study_are_written_anew_from_its_ledger(written: Written) -> None:
    written.whole(0)
    written.whole(1, "failed", 1, error="boom")
    write_outputs(written.folder)
    path = written.folder.path
    for name in ("leaderboard.md", "leaderboard.csv", "report.html", "description.md"):
        assert (path / name).stat().st_size
    assert list((path / "plots").glob("*.png"))
    assert pq.read_table(path / "results.parquet")["status"].to_pylist() == ["finished", "failed"]
    (path / "report.html").write_text("")
    written.whole(2)
    write_outputs(written.folder)
    assert len(pq.read_table(path / "results.parquet")) == 3
    assert "<html" in (path / "report.html").read_text(encoding="utf-8")


def test_an_ablation_leaves_a_table_of_its_cells_in_place_of_a_leaderboard(
    written: Written,
) -> None:
    for number, (label, seed) in enumerate((c, s) for c in ("base", "norms") for s in (1, 2)):
        config = written.trial(
            number, trial_id=f"ablation-{number:04d}", stage="ablation", label=label, arm=label,
            seed=seed, subset_key=label,
        )  # fmt: skip
        trial = written.folder.trial(config.trial_id)
        trial.append_report({"epoch": 3, "test_score": 0.5 + 0.1 * number, "seconds": 1.0})
        trial.write_end(End("finished", 3, 1.0))
    written.folder.write_json("cells.json", {"base": {}, "norms": {}})
    write_outputs(written.folder)
    assert not list(written.folder.path.glob("leaderboard*"))
    assert "norms" in (written.folder.path / "ablation.md").read_text(encoding="utf-8")


def test_outputs_wait_for_storage_that_is_gone_and_take_it_for_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.storage.atomic.WAIT_SECONDS", 0.2)
    with pytest.raises(StorageError, match=r"mine/trials cannot be used, nor could it within"):
        write_outputs(StudyFolder(tmp_path / "runs" / "mine"))
