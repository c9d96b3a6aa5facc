"""The best configurations over all studies of a folder."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.commands.main import main
from study.report.leaderboard_tables import render_best_of_studies
from study.results.best_of_studies import best_of_studies
from study.storage.trial_folder import End
from tests.real_study import BEST

RATE = 0.08404840643566887
LORA = {"method": "lora", "lr": 0.001, "rank": 2}


@pytest.fixture(scope="module")
def storage(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of digits: one with a stopped trial with the best score, one with LoRA; a damaged."""
    place = tmp_path_factory.mktemp("found")
    early, late, linear, damaged = (
        finish(place, name, val_score=score, linear=name == "linear")
        for name, score in (("early", 0.8), ("late", 0.9), ("linear", 0.72), ("damaged", 1.0))
    )
    late.validate(3, 0.99, **BEST)
    late.folder.trial("search-0003").write_end(End("stopped", 1, 1.0))
    early.validate(3, 0.75, **BEST | {"ln_lr": RATE})
    linear.validate(3, 0.75, group="lora", label="lora 3", subset="none", method=LORA)
    damaged.folder.trial("search-0001").write("config.json", b"{}")
    return place


def test_finished_trials_come_best_first_with_their_exact_settings_and_tests(
    storage: Path, caplog: pytest.LogCaptureFixture
):
    best = best_of_studies(storage, top=20)
    assert "study 'damaged' is skipped" in caplog.text
    found = [(one.study, one.trial.label, one.val_score, one.test_score) for one in best]
    assert found[:2] == [("late", "trial 1", 0.9, 0.75), ("early", "trial 1", 0.8, 0.75)]
    assert len(found) == 3 * 3 + 2
    assert [one.val_score for one in best] == sorted((row[2] for row in found), reverse=True)
    by_name = {(one.study, one.trial.label): one for one in best}
    assert by_name["early", "trial 3"].trial.settings.rates["ln"] == RATE
    assert by_name["early", "trial 2"].test_seeds == 0
    assert by_name["linear", "lora 3"].record()["method_lr"] == 0.001
    tuned = by_name["linear", "trial 1"]
    assert (tuned.trial.settings.head, tuned.test_seeds) == ("linear", 2), "its tests have its head"


def test_each_dataset_has_a_table_of_its_own(storage: Path):
    first, second, *_ = best_of_studies(storage, top=2)
    data = second.config.data.model_copy(update={"dataset": "dtd"})
    config = second.config.model_copy(update={"data": data})
    elsewhere = second._replace(config=config, test_seeds=0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_best_of_studies([first, elsewhere, second]))
    digits, dtd = console.export_text().split("Best on ")[1:]
    assert (digits.count("trial 1"), dtd.count("trial 1")) == (2, 1)
    assert ("75.0 (2)" in digits, "75.0 (2)" in dtd) == (True, False)


def test_without_a_name_the_command_reads_all_studies_of_the_storage(
    storage: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["leaderboard", f"storage={storage}", "--top", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row.items() >= {"study": "late", "bias_lr": 0.05, "head": "text", "shots": 16}.items()
    assert main(["leaderboard", f"storage={storage / 'late' / 'trials'}"]) == 2
