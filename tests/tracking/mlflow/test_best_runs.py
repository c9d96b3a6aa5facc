"""The best configurations over all studies of a store, and back into a study."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.commands import main
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.report.best_configurations import baselines_study_yaml
from study.storage.trial_folder import End
from study.tracking.mlflow.best_runs import best_configurations, read_study_configuration
from study.tracking.mlflow.mirror import sync_to_mlflow
from tests.finished_study import WINNER

HERE = Path("runs")
FOUND = {
    **{"subset": "text.mlp.fc2.bias + vision.ln", "bias_lr": 0.05, "distill_weight": 0.0},
    **{"head": "text", "head_lr": None, "head_steps": None},
    **{"strength": 1.0, "calibration": 0.0, "peer_lr": None},
}


@pytest.fixture(scope="module")
def store(
    finish: Callable[..., Any],
    new_store: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Two studies, in two experiments."""
    place = tmp_path_factory.mktemp("found")
    uri = new_store(place)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        for name, score, experiment in (("early", 0.8, "a"), ("late", 0.9, "b")):
            study = finish(place, name, val_score=score, experiment=experiment)
            sync_to_mlflow(study.study, uri)
    return uri


@pytest.fixture
def ask(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line against the store; gives exit code, output and errors."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["leaderboard", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_configurations_of_all_experiments_come_best_first(ask: Callable[..., Any]) -> None:
    code, output, _ = ask("--format", "json")
    rows = json.loads(output)
    assert code == 0
    told = [(row["study"], row["label"], row["val_score"]) for row in rows]
    assert told[:3] == [
        ("late", "trial 1", 0.9),
        ("early", "trial 1", 0.8),
        ("late", "trial 2", 0.8),
    ]
    assert [row["val_score"] for row in rows] == sorted((v for _, _, v in told), reverse=True)
    assert rows[0].items() >= {**FOUND, "ln_lr": 0.1, "dataset": "digits", "shots": 16}.items()


def test_test_scores_stand_beside_what_was_confirmed_alone(ask: Callable[..., Any]) -> None:
    rows = json.loads(ask("--format", "json", "--study", "late")[1])
    assert [(row["test_score"], row["test_seeds"]) for row in rows] == [
        (0.75, 2),
        (None, 0),
        (None, 0),
    ]


@pytest.mark.parametrize(
    ("arguments", "studies"),
    [
        (("--study", "early"), {"early"}),
        (("--where", "params.dataset = 'digits'"), {"early", "late"}),
        (("--where", "params.dataset = 'eurosat'"), set()),
        (("--where", "metrics.val_score > 0.85"), {"late"}),
    ],
)
def test_studies_are_chosen_by_name_or_condition(
    ask: Callable[..., Any], arguments: tuple[str, ...], studies: set[str]
) -> None:
    rows = json.loads(ask(*arguments, "--format", "json")[1])
    assert {row["study"] for row in rows} == studies


def test_a_found_configuration_is_a_baseline_of_the_next_study(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    code, output, _ = ask("--top", "3", "--format", "yaml")
    assert code == 0
    (tmp_path / "found.yaml").write_text(output)
    config = load_config(tmp_path / "found.yaml", ["seed=2"])
    baselines = config.search.baselines
    assert {"zero-shot", "clipfit", "found-late-1", "found-late-2"} <= set(baselines)
    late = config.search.fixed_baselines["found-late-1"]
    assert late.column_values() == {**FOUND, "ln_lr": 0.1}
    assert config.name is None
    assert config.data.dataset == "digits"


def test_a_table_tells_which_scores_compare(ask: Callable[..., Any]) -> None:
    code, output, _ = ask("--top", "1")
    assert code == 0
    for text in ("late", "90.0", "75.0 (2)", "ffffff", "text.mlp.fc2.bias + vision.ln"):
        assert text in output


def test_a_condition_that_is_none_is_told(ask: Callable[..., Any]) -> None:
    code, output, errors = ask("--where", "nonsense")
    assert (code, output) == (2, "")
    assert "params.dataset = 'digits'" in errors


def test_nothing_found_is_told(ask: Callable[..., Any]) -> None:
    for form in ("table", "yaml"):
        code, output, errors = ask("--study", "none", "--format", form)
        assert (code, output) == (2, "")
        assert "no study" in errors


def test_the_configuration_of_a_study_comes_from_the_store(store: str) -> None:
    (found,) = best_configurations(store, study="late", where=None, top=1, storage=HERE)
    config = read_study_configuration(store, found)
    assert (config.name, config.tracking.experiment) == ("late", "b")


def test_rates_are_shown_rounded_and_go_into_the_next_study_as_they_were(
    finish: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = finish(tmp_path, "exact")
    rate = 0.08404840643566887
    study._search("search", "trial 3", 3, 0.95, WINNER | {"ln_lr": rate})
    confirmed = WINNER | {"ln_lr": rate}
    monkeypatch.setattr(study, "_winner", confirmed)
    study.confirm(3, test_score=0.9)
    sync_to_mlflow(study.study, f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert main(["leaderboard", "--top", "1", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["label"], row["ln_lr"]) == ("trial 3", 0.08405)
    assert (row["test_score"], row["test_seeds"]) == (0.9, 1), "its confirmation is found"
    assert main(["leaderboard", "--top", "1", "--format", "yaml"]) == 0
    found = load_config(_written(tmp_path, capsys.readouterr().out))
    assert found.search.fixed_baselines["found-exact-3"].column_values()["ln_lr"] == rate


def test_a_trial_that_was_stopped_is_none_of_the_best(
    finish: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, uri = finish(tmp_path, "stopped"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    study._search("search", "trial 3", 3, 0.99, WINNER)
    study.folder.trial("search-0003").write_end(End("stopped", 1, 1.0))
    sync_to_mlflow(study.study, uri)
    found = best_configurations(uri, study=None, where=None, top=2, storage=HERE)
    assert [one.label for one in found] == ["trial 1", "zero-shot"]


def test_heads_and_peers_are_found_as_they_were_trained(
    finish: Callable[..., Any],
    new_store: Callable[[Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    study = finish(tmp_path, "linear", linear=True)
    peer = {"method": "lora", "lr": 0.001, "rank": 2, "alpha": 4.0, "dropout": 0.1}
    peer |= {"optimizer": "sgd", "weight_decay": 0.0}
    lora = TrialSettings.model_validate({"subset": "none", "peer": peer})
    study._search("lora", "trial 3", 3, 0.95, {"subset": "none", "peer": peer})
    uri = new_store(tmp_path)
    sync_to_mlflow(study.study, uri)
    first, second, *_ = best_configurations(
        uri, study=None, where=None, top=9, storage=Path("runs")
    )
    assert first.settings == lora
    head = {"head": "linear", "head_lr": 0.01, "head_steps": 30, "strength": 0.75}
    assert second.settings.column_values() == {**FOUND, "ln_lr": 0.1, **head}, (
        "as validation chose it"
    )
    assert (second.test_score, second.test_seeds) == (0.75, 2), "the confirmations have its head"
    found = load_config(_written(tmp_path, baselines_study_yaml([first, second], study.config)))
    baselines = found.search.fixed_baselines
    assert baselines["found-linear-3"] == lora
    assert baselines["found-linear-1"].column_values() == second.settings.column_values()


def _written(place: Path, text: str) -> Path:
    (place / "found.yaml").write_text(text)
    return place / "found.yaml"


def test_a_study_whose_folder_is_gone_is_marked(
    finish: Callable[..., Any],
    new_store: Callable[[Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    names = ("kept", "moved", "lost", "namesake")
    studies = {name: finish(tmp_path / "runs", name) for name in names}
    for study in studies.values():
        sync_to_mlflow(study.study, uri)
    (tmp_path / "else").mkdir()
    studies["moved"].folder.path.rename(tmp_path / "else" / "moved")
    shutil.rmtree(studies["lost"].folder.path)
    (studies["namesake"].folder.path / "identity.json").write_text(
        json.dumps({"study_id": "another"})
    )
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")

    def folders() -> dict[str, str | None]:
        assert main(["leaderboard", "--format", "json", "--top", "99"]) == 0
        return {row["study"]: row["folder"] for row in json.loads(capsys.readouterr().out)}

    kept = str(tmp_path / "runs" / "kept")
    assert folders() == {"kept": kept, "moved": None, "lost": None, "namesake": None}
    monkeypatch.setenv("STUDY_STORAGE", str(tmp_path / "else"))
    assert folders()["moved"] == str(tmp_path / "else" / "moved")
    assert main(["leaderboard", "--top", "99"]) == 0
    shown = capsys.readouterr().out
    assert "lost †" in shown
    assert "kept †" not in shown
    assert main(["leaderboard", "--study", "kept"]) == 0
    assert "†" not in capsys.readouterr().out
