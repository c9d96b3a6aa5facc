"""A protocol of one's own: one class, here one that is scored by the new classes alone."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
from rich.console import Console

from study.errors import ConfigError
from study.protocols import BaseToNew
from study.storage.study_folder import StudyFolder
from study.trial.config_hash import code_of_others
from study.trial.study import Study
from study.workflow.run_study import run_study

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker has this file


class OnlyNew(BaseToNew):
    """Learning from the base classes, for new ones."""

    name = "only_new"
    sentence = "Only new: a model is scored by its accuracy on classes that it never saw."
    metric = "accuracy of new classes"

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        return {**parts, "score": parts.get("new", parts["base"])}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package whose entry point is the protocol."""
    package = tmp_path / "packages" / "mine-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    entry = f"[clipfit_study.protocols]\nonly_new = {__name__}:OnlyNew\n"
    (package / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(package.parent))


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster", "installed")
def test_a_study_is_judged_by_it(small: Any, tmp_path: Path) -> None:
    config = small(protocol="only_new", search={"selection": "base"})
    folder = StudyFolder(tmp_path / "runs" / "mine")
    run_study(Study(config, folder), Console(quiet=True), resume=False)
    tested = [
        t.read_reports()[-1] for t in folder.trials() if t.read_config()["stage"] == "confirm"
    ]
    assert {report["test_score"] == report["test_new"] for report in tested} == {True}
    assert any(report["test_new"] != report["test_base"] for report in tested)
    assert OnlyNew.sentence in (folder.path / "report.html").read_text()
    assert len(code_of_others(OnlyNew)) == 1


def test_without_it_the_study_does_not_start(small: Any, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    with pytest.raises(ConfigError, match="protocol: 'only_new' is unknown; allowed are few_shot"):
        run_study(Study(small(protocol="only_new"), folder), Console(quiet=True), resume=False)
