"""A sampler of one's own: a function from a seed to one of Optuna's samplers."""

from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler, QMCSampler
from rich.console import Console

from study.errors import ConfigError
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.run_study import run_study


def sobol(seed: int) -> BaseSampler:
    """A sequence that covers the space evenly."""
    return QMCSampler(qmc_type="sobol", seed=seed, warn_independent_sampling=False)


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
def test_a_study_searches_with_it(small: Any, tmp_path: Path) -> None:
    config = small(search={"sampler": "sobol"})
    folder = StudyFolder(tmp_path / "runs" / "mine")
    run_study(Study(config, folder), Console(quiet=True), resume=False, sampler=sobol)
    assert "sampler: sobol" in folder.config_path.read_text()
    searched = [t for t in folder.trials() if t.trial_id.startswith("search-")]
    assert len(searched) == 8 + 1 + 3, "those planned, the peer, and baselines with a head"
    assert folder.is_complete()
    with pytest.raises(ConfigError, match=r"search\.sampler: 'sobol' is unknown; allowed are tpe"):
        run_study(Study(config, folder), Console(quiet=True), resume=True)
