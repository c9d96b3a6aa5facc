"""The command ``list``."""

import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest

from study.commands import main
from study.config.yaml_values import parse_overrides
from study.selection.optimism import Optimism
from study.storage.study_folder import StudyFolder
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from tests.written_study import Written


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    """What ``list --json`` says of each study."""
    assert main(["list", "--json", *arguments]) == 0
    return {row["study"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_list_has_state_scores_trials_size_and_age(
    mine: StudyFolder, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "runs" / "images").mkdir()
    Written(here / "runs", "lost").folder.config_path.unlink()
    broken = Written(here / "runs", "broken").folder
    broken.trial("search-0001").create({})
    (broken.path / "trials/search-0001/config.json").write_text("{")
    long_ago = time.time() - 9 * 86400
    os.utime(mine.path / "identity.json", (long_ago, long_ago))
    rows = listed(capsys)
    assert set(rows) == {"mine", "broken"}
    assert (rows["broken"]["state"], rows["broken"]["trials"]) == ("damaged", 1)
    found = rows["mine"]
    assert (found["state"], found["trials"], found["test_score"]) == ("interrupted", 2, None)
    assert found["val_score"] == pytest.approx(0.13)
    files = [path for path in mine.path.rglob("*") if path.is_file()]
    assert found["bytes"] == sum(path.stat().st_size for path in files)
    assert main(["list", "storage=runs"]) == 0
    said = capsys.readouterr().out
    assert "2 studies in runs" in said
    assert re.search(r"mine +interrupted +2 +13.0 +– +– +– +[\d.]+ kB +9\.0", said)
    assert listed(capsys, f"storage={here}") == {}
    assert main(["list", f"storage={here}"]) == 0
    assert capsys.readouterr().out.split() == ["no", "studies", "in", str(here)]


def test_a_finished_study_is_listed_with_the_test_score_of_its_choice(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = Written(here / "runs", "done")
    chosen = {"settings": {"subset": "none"}, "label": "best", "same_as": "clipfit"}
    written.folder.write_json("candidates.json", [chosen])
    written.folder.write_json("optimism.json", Optimism(41, 0.9, 0.87, {}))
    shown = [Prediction("accuracy", f"{n}.png", "ab"[n % 2], "a", 0.9) for n in range(8)]
    for seed, score in ((1, 0.5), (2, 0.7)):
        confirmation = {"stage": "confirm", "label": "clipfit", "seed": seed}
        config = written.trial(seed, trial_id=f"confirm-clipfit-seed{seed}", **confirmation)
        trial = written.folder.trial(config.trial_id)
        trial.write("predictions.parquet", predictions_to_parquet(shown))
        trial.append_report({"epoch": 1, "test_score": score})
        written.end(config)
    (written.folder.path / "description.md").write_text("")
    found = listed(capsys)["done"]
    assert (found["state"], found["val_score"]) == ("finished", None)
    assert found["test_score"] == pytest.approx(0.6)
    assert (found["test_balanced"], found["val_expected"]) == (0.5, 0.87)
    assert main(["list"]) == 0
    assert re.search(r"done .* 87\.0 +60\.0 +50\.0 ", capsys.readouterr().out)


@pytest.mark.parametrize("command", [["list"], ["status", "mine"]], ids=" ".join)
@pytest.mark.parametrize("width", ["40", "200"])
def test_the_command_that_goes_on_is_printed_for_what_is_interrupted_alone(
    mine: StudyFolder,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    width: str,
) -> None:
    storage = (here / "runs").rename(here / "a folder with [red]spaces and $HOME in its name")
    Written(storage, "done").conclude()
    monkeypatch.setenv("COLUMNS", width)
    assert main([*command, f"storage={storage}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "clipfit-study" in line]
    (line,) = lines
    assert shlex.split(line)[:3] == ["clipfit-study", "resume", "mine"]
    (override,) = shlex.split(line)[3:]
    assert Path(parse_overrides([override])["storage"]).samefile(storage)
    with StudyFolder(storage / "mine").locked():
        assert main([*command, f"storage={storage}"]) == 0
    assert "clipfit-study" not in capsys.readouterr().out


def test_a_storage_that_is_named_and_not_there_is_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    assert main(["list", "storage=nowhere"]) == 2
    assert "storage=nowhere is no folder" in capsys.readouterr().err
    assert not any(here.iterdir())
