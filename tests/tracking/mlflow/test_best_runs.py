"""The best configurations over all studies of a store, and back into a study."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.commands.main import main
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.report.best_configurations import baselines_study_yaml
from study.storage.trial_folder import End
from study.tracking.mlflow.best_runs import best_configurations, read_exact
from study.tracking.tracker import RankedConfiguration
from tests.case_tables import from_table
from tests.finished_study import WINNER
from tests.written_study import sync

FOUND = {
    **{"subset": "text.mlp.fc2.bias + vision.ln", "bias_lr": 0.05, "ln_lr": 0.1},
    **{"distill_weight": 0.0, "head": "text", "strength": 1.0, "method_lr": None},
}
RATE = 0.08404840643566887
LORA = {
    **{"method": "lora", "lr": 0.001, "rank": 2, "alpha": 4.0, "dropout": 0.1},
}


@pytest.fixture(scope="module")
def store(
    finish: Any,
    new_store: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Four studies, in an experiment each; one has a stopped trial with the best score of all."""
    place = tmp_path_factory.mktemp("found")
    scores = {"early": 0.8, "late": 0.9, "exact": 0.6, "linear": 0.72}
    studies = {
        name: finish(place, name, val_score=score, experiment=name, linear=name == "linear")
        for name, score in scores.items()
    }
    studies["late"]._search("search", "trial 3", 3, 0.99, WINNER)
    studies["late"].folder.trial("search-0003").write_end(End("stopped", 1, 1.0))
    studies["exact"]._winner = WINNER | {"ln_lr": RATE}
    studies["exact"]._search("search", "trial 3", 3, 0.75, studies["exact"]._winner)
    studies["exact"].test(3, test_score=0.9)
    studies["linear"]._search("lora", "trial 3", 3, 0.75, {"subset": "none", "method": LORA})
    uri = new_store(place)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        for study in studies.values():
            sync(study, uri)
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


def best(store: str, study: str, top: int = 2) -> list[RankedConfiguration]:
    return best_configurations(store, study=study, where=None, top=top)


def loaded(text: str, place: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read the text of a configuration as a study does."""
    (place / "found.yaml").write_text(text)
    return load_config(place / "found.yaml", overrides)


def test_configurations_that_ended_well_come_best_first_over_all_experiments(
    ask: Any,
):
    code, output, _ = ask("--format", "json")
    rows = json.loads(output)
    assert code == 0
    told = [
        (row["study"], row["label"], row["val_score"], row["test_score"], row["test_seeds"])
        for row in rows
    ]
    assert told[:3] == [
        ("late", "trial 1", 0.9, 0.75, 2),
        ("early", "trial 1", 0.8, 0.75, 2),
        ("late", "trial 2", 0.8, None, 0),
    ]
    scores = [row["val_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert rows[0].items() >= {**FOUND, "dataset": "digits", "shots": 16}.items()


@pytest.mark.parametrize(
    "arguments, studies",
    [
        (("--study", "early"), {"early"}),
        (("--where", "params.dataset = 'digits'"), {"early", "late", "exact", "linear"}),
        (("--where", "params.dataset = 'eurosat'"), set()),
        (("--where", "metrics.val_score > 0.85"), {"late"}),
    ],
)
def test_studies_are_chosen_by_name_or_condition(
    ask: Any, arguments: tuple[str, ...], studies: set[str]
):
    rows = json.loads(ask(*arguments, "--top", "99", "--format", "json")[1])
    assert {row["study"] for row in rows} == studies


def test_a_found_configuration_is_a_baseline_of_the_next_study(ask: Any, tmp_path: Path):
    code, output, _ = ask("--top", "3", "--format", "yaml")
    assert code == 0
    config = loaded(output, tmp_path, ["seed=2"])
    baselines = config.search.baselines
    assert {"zero-shot", "clipfit", "found-late-1", "found-late-2"} <= set(baselines)
    assert config.search.fixed_baselines["found-late-1"].column_values() == FOUND
    assert (config.name, config.data.dataset) == (None, "digits")


@from_table
def test_a_condition_that_is_none_and_nothing_found_are_told(
    ask: Any, arguments: tuple[str, ...], told: str
):
    code, output, errors = ask(*arguments)
    assert (code, output) == (2, "")
    assert told in errors


def test_the_configuration_of_a_study_comes_from_the_store(store: str):
    _, config = read_exact(store, best(store, "late"))
    assert (config.name, config.tracking.experiment) == ("late", "late")


def test_rates_are_shown_rounded_and_go_into_the_next_study_as_they_were(ask: Any, tmp_path: Path):
    (row,) = json.loads(ask("--study", "exact", "--top", "1", "--format", "json")[1])
    assert (row["label"], row["ln_lr"]) == ("trial 3", 0.08405)
    assert (row["test_score"], row["test_seeds"]) == (0.9, 1), "its test is found"
    found = loaded(ask("--study", "exact", "--top", "1", "--format", "yaml")[1], tmp_path)
    assert found.search.fixed_baselines["found-exact-3"].column_values()["ln_lr"] == RATE


def test_heads_and_methods_are_found_as_they_were_trained(store: str, tmp_path: Path):
    first, second = best(store, "linear")
    lora = TrialSettings.model_validate({"subset": "none", "method": LORA, "head": "text"})
    assert first.settings == lora
    head = {"head": "linear", "strength": 0.75}
    assert second.settings.column_values() == FOUND | head, "as validation chose it"
    assert (second.test_score, second.test_seeds) == (0.75, 2), "the tests have its head"
    _, config = read_exact(store, [first])
    found = loaded(baselines_study_yaml([first, second], config), tmp_path)
    baselines = found.search.fixed_baselines
    assert baselines["found-linear-3"] == lora
    assert baselines["found-linear-1"].column_values() == FOUND, "as given"
