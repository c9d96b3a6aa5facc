"""A study from its configuration to its report: what it begins with, refuses, and leaves."""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from written_study import Written

import study.trial.study
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.errors import BackboneError, ConfigError
from study.method.checkpoint import read_architecture
from study.storage.ledger import End, LedgerError, StudyFolder, TrialFolder
from study.tracking.tracker import Tracker
from study.workflow.run_study import _conclude, run_study, write_outputs

Configure = Callable[..., StudyConfig]


@pytest.fixture
def configure(tiny_backbone: Path, tmp_path: Path, mlflow_store: str) -> Configure:
    """Make the configuration of a small study on the digits."""

    def configure(**values: Any) -> StudyConfig:
        sections = {
            "name": "mine",
            "storage": str(tmp_path / "runs"),
            "backbone": {"name": str(tiny_backbone)},
            "tracking": {"uri": mlflow_store, "experiment": "begun"},
            "data": {"shots": 2, "augment": False},
            **values,
        }
        return build_config(sections, "here")

    return configure


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    return Console(file=output, width=500)


def folder_of(config: StudyConfig) -> StudyFolder:
    return StudyFolder(config.storage / str(config.name))


def test_a_study_whose_checkpoint_is_another_than_it_began_with_does_not_go_on(
    configure: Configure, console: Console, tiny_backbone: Path
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {"checkpoint": "f" * 16})
    now = read_architecture(tiny_backbone).checkpoint
    with pytest.raises(BackboneError, match=f"was {'f' * 16} and is {now}; put the former back"):
        run_study(config, folder, console, resume=True)
    assert not list(folder.trials())
    assert not (folder.path / "shots").exists()


def test_a_study_whose_images_were_decoded_otherwise_goes_on_with_a_warning(
    configure: Configure, console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {"checkpoint": "f" * 16})
    with pytest.raises(BackboneError):
        run_study(config, folder, console, resume=True)
    assert "images are decoded otherwise since 'mine' began" in caplog.text


def test_a_name_that_exists_is_refused_and_its_study_left_alone(
    configure: Configure, console: Console
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create("seed: 1\n", {})
    with pytest.raises(ConfigError, match="study 'mine' exists"):
        run_study(config, folder, console, resume=False)
    assert folder.config_path.read_text() == "seed: 1\n"


def test_a_second_driver_of_a_study_is_refused(configure: Configure, console: Console) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {})
    with folder.locked(), pytest.raises(LedgerError, match="run by another process"):
        run_study(config, StudyFolder(folder.path), console, resume=True)


CELLS = {"design": "only_one", "rates": [0.01, 0.1]}


@pytest.mark.parametrize(
    ("values", "plan"),
    [
        (
            {},
            [
                "few_shot on digits, 2 shots",
                "48 trials: 4 baselines, 12 tune CLIPFit's",
                "then 5 seeds",
            ],
        ),
        ({"search": {"trials": 0}}, ["no search: 4 configurations as they are", "then 5 seeds"]),
        ({"protocol": "zero_shot"}, ["zero_shot on digits, /", "no search: 1", "then 1 seed"]),
        ({"ablation": CELLS}, ["an ablation of the design only_one, 2 learning rates a cell"]),
    ],
    ids=["search", "baselines alone", "zero-shot", "ablation"],
)
def test_a_study_begins_by_writing_down_what_it_is_and_saying_what_it_will_do(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    plan: list[str],
) -> None:
    config = configure(**values)
    folder = folder_of(config)
    monkeypatch.setattr("study.workflow.run_study.ray_session", lambda _: pytest.fail("far enough"))
    with pytest.raises(pytest.fail.Exception, match="far enough"):
        run_study(config, folder, console, resume=False)
    assert folder.config_path.read_text(encoding="utf-8") == dump_config(config)
    identity = folder.read_identity()
    assert identity["checkpoint"] == read_architecture(tiny_backbone).checkpoint
    assert {"created", "git_commit", "torch_version", "ray_version"} <= identity.keys()
    for part in plan:
        assert part in output.getvalue()


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


def test_what_a_study_comes_to_is_read_once_for_all_its_views(
    written: Written, console: Console, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks, read = [], Counter[str]()
    trials, contents = StudyFolder.trials, Path.read_bytes

    def walk(folder: StudyFolder) -> Iterator[TrialFolder]:
        walks.append(folder.name)
        return trials(folder)

    def reading(path: Path) -> bytes:
        read[str(path)] += 1
        return contents(path)

    written.whole(0)
    written.folder.write_json("candidates.json", [])
    monkeypatch.setattr(StudyFolder, "trials", walk)
    monkeypatch.setattr(Path, "read_bytes", reading)
    results, board = write_outputs(written.folder)
    _conclude(results, board, create_autospec(Tracker, pages=lambda: []), console)
    assert walks == ["mine"]
    assert "report.html" in output.getvalue()
    path = written.folder.path
    for name in ("config.json", "reports.jsonl", "end.json"):
        assert read[str(path / "trials/search-0000" / name)] == 1
    assert read[str(path / "candidates.json")] == 1


@pytest.mark.usefixtures("ray_cluster")
def test_a_whole_study_opens_its_dataset_once(
    configure: Configure, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, opened = study.trial.study.load_dataset, Counter[str]()

    def load_dataset(name: str, *args: Any, **options: Any) -> Dataset:
        opened[name] += 1
        return real(name, *args, **options)

    monkeypatch.setattr(study.trial.study, "load_dataset", load_dataset)
    config = configure(
        search={"trials": 0, "baselines": {"ln": {"subset": "ln", "rates": {"ln": 0.1}}}},
        training={"epochs": 1, "batch_size": 8},
        confirm={"seeds": [1, 2, 3]},
    )
    run_study(config, folder_of(config), console, resume=False)
    assert opened == {"digits": 1}
