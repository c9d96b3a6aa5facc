"""A study that a version without heads and strengths began goes on as it was."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tiny_study import TinyStudy

from study.analysis.results import read_results
from study.config.frozen import load_frozen
from study.storage.ledger import StudyFolder
from study.trial import TrialConfig
from study.workflow.check import frozen_config

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

BASELINES = {
    "zero-shot": {"subset": "none"},
    "clipfit": {"subset": "clipfit", "bias_lr": 0.02, "ln_lr": 0.02, "distill_weight": 1},
}
NEW_SETTINGS = ("head", "head_lr", "head_steps", "strength", "calibration", "peer")


def as_before(folder: StudyFolder) -> None:
    """Write a study's files as an earlier version did."""
    values = yaml.safe_load(folder.config_path.read_text())
    for key in ("heads", "neighbours"):
        del values["search"]["space"][key]
    del values["confirm"]["strength"]
    folder.write_config(yaml.safe_dump(values, sort_keys=False))
    for trial in folder.trials():
        config = trial.read_config()
        config.pop("scored_at")
        for name in NEW_SETTINGS:
            config["settings"].pop(name)
        trial.write("config.json", json.dumps(config), recorded=True)
        reports = [
            {k: v for k, v in report.items() if k != "folds" and not k.endswith("generalized")}
            for report in trial.read_reports()
        ]
        text = "".join(json.dumps(report) + "\n" for report in reports)
        trial.write("reports.jsonl", text, recorded=True)


@pytest.fixture(scope="module")
def earlier(make_study: Callable[..., TinyStudy]) -> TinyStudy:
    """A study of base to new, whose strength is 0.75 today, after its search."""
    search = {"selection": "base", "baselines": BASELINES, "asha": None}
    study = make_study(
        "earlier",
        protocol="base_to_new",
        search={**search, "space": {"heads": ["text"], "neighbours": False}},
        confirm={"seeds": [1, 2], "runners_up": 1, "strength": 1.0},
    )
    study.search()
    as_before(study.folder)
    return study


def deltas(folder: StudyFolder) -> dict[str, bytes]:
    found: list[Path] = sorted(folder.path.glob("trials/search-*/delta*.safetensors"))
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


@pytest.mark.long
def test_its_search_its_choice_and_its_test_have_heads_of_text_and_full_strength(
    earlier: TinyStudy,
) -> None:
    before = deltas(earlier.folder)
    for trial in list(earlier.folder.trials())[-2:]:
        shutil.rmtree(trial.path)
    earlier.config = frozen_config(earlier.folder)
    earlier.search()
    earlier.confirm()
    trials = [TrialConfig.model_validate(trial.read_config()) for trial in earlier.folder.trials()]
    assert {(t.settings.head, t.settings.strength) for t in trials} == {("text", 1.0)}
    arms = {"baseline": 2, "clipfit-tuned": 2, "search": 4}
    searched = [trial for trial in trials if trial.stage == "search"]
    assert {arm: sum(t.arm == arm for t in searched) for arm in {t.arm for t in searched}} == arms
    assert deltas(earlier.folder) == before, "the same is proposed again"
    results = read_results(earlier.folder.path)
    assert results.study is not None
    assert results.study.config == load_frozen(earlier.folder.config_path)
    assert {c.label for c in results.candidates if c.same_as is None} <= {
        *BASELINES,
        *("clipfit-tuned", "best", "second"),
    }
