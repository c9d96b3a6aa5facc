"""The command ``list``."""

import json
import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.commands.list import summarize_study
from study.config.yaml_values import parse_overrides
from study.storage.study_folder import StudyFolder
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Prediction
from tests.commands.conftest import Run
from tests.written_study import Written


def test_the_list_has_state_scores_trials_size_and_age(mine: StudyFolder, here: Path, run: Run):
    (here / "runs" / "images").mkdir()
    Written(here / "runs", "lost").folder.config_path.unlink()
    broken = Written(here / "runs", "broken").folder
    broken.trial("search-0001").create({})
    (broken.path / "trials/search-0001/config.json").write_text("{")
    long_ago = time.time() - 9 * 86400
    os.utime(mine.path / "identity.json", (long_ago, long_ago))
    damaged, found = json.loads(run("list", "--json").out)
    assert (damaged["study"], damaged["state"], damaged["trials"]) == ("broken", "damaged", 1)
    files = [path for path in mine.path.rglob("*") if path.is_file()]
    assert found["bytes"] == sum(path.stat().st_size for path in files)
    said = run("list", "storage=runs").out
    assert "2 studies in runs" in said
    assert re.search(r"mine +interrupted +2 +13.0 +– +– +[\d.]+ kB +9\.0", said)


def test_a_finished_study_is_listed_with_the_test_score_of_its_choice(here: Path, run: Run):
    written = Written(here / "runs", "done")
    chosen = {"settings": {"subset": "none"}, "label": "best", "training": "abc", "choice": 8}
    written.folder.write_json("candidates.json", [chosen])
    shown = [Prediction("text", "accuracy", f"{n}.png", "ab"[n % 2], "a", 0.9) for n in range(8)]
    for seed, score in ((1, 0.5), (2, 0.7)):
        test = {"stage": "test", "label": "abc", "seed": seed}
        config = written.trial(seed, trial_id=f"test-abc-seed{seed}", **test)
        trial = written.folder.trial(config.trial_id)
        trial.write("predictions.parquet", predictions_to_parquet(shown))
        trial.append_report({"epoch": 1, "scores": {"text": {"score": score}}})
        written.end(config)
    written.conclude()
    (found,) = json.loads(run("list", "--json").out)
    assert (found["state"], found["val_score"]) == ("finished", None)
    assert found["test_score"] == pytest.approx(0.6)
    assert re.search(r"done .* – +60\.0 +50\.0 ", run("list").out)


@pytest.mark.parametrize("command", [["list"], ["status", "mine"]], ids=" ".join)
@pytest.mark.parametrize("width", ["40", "200"])
def test_the_command_that_goes_on_is_printed_for_what_is_interrupted_alone(
    mine: StudyFolder,
    here: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    width: str,
):
    storage = (here / "runs").rename(here / "a folder with [red]spaces and $HOME in its name")
    Written(storage, "done").conclude()
    monkeypatch.setenv("COLUMNS", width)
    words = [*command, f"storage={storage}"]
    (line,) = re.findall(".*clipfit-study.*", run(*words).out)
    *program, override = shlex.split(line)
    assert program == ["clipfit-study", "resume", "mine"]
    assert Path(parse_overrides([override])["storage"]).samefile(storage)
    with StudyFolder(storage / "mine").locked():
        assert "clipfit-study" not in run(*words).out


def test_a_storage_without_studies_is_told_and_one_that_is_named_must_be_there(
    here: Path, run: Run, refused: Callable[..., str]
):
    assert run("list").out == "no studies in runs\n"
    assert "storage=nowhere is no folder" in refused("list", "storage=nowhere")
    assert not any(here.iterdir())
    (here / "[x]").mkdir()
    assert run("list", "storage=[x]").out == "no studies in [x]\n"


def test_a_study_is_described_by_what_it_has(mine: StudyFolder):
    row = summarize_study(mine)
    assert (row.study, row.state, row.trials) == ("mine", "interrupted", 2)
    assert row.val_score == pytest.approx(0.13)
    assert row.study_id == mine.read_identity()["study_id"]
    assert (row.test_score, row.registered) == (None, None)
