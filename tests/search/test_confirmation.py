"""The test of candidates on several seeds."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest

from study.config.schema import StudyConfig
from study.search import confirmation
from study.search.confirmation import run_confirm
from study.storage.study_folder import StudyFolder
from study.trial import TrialData
from study.trial.study import Candidate
from tests.settings import settings, study_of


@pytest.mark.parametrize("cells", [2, 1000, 1001])
def test_each_cell_of_an_ablation_is_tested_once_with_each_seed_under_a_name_of_its_own(
    few_digits: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: int
):
    run_queue = create_autospec(confirmation.run_queue)
    monkeypatch.setattr(confirmation, "run_queue", run_queue)
    # takes a while
    monkeypatch.setattr("study.search.make_trial.compute_config_hash", lambda *_: "")
    study = study_of(StudyConfig(), StudyFolder(tmp_path))
    chosen = []
    for number in range(cells):
        own = settings("vision.ln", None, 0.01 + number / 10_000)
        chosen.append(Candidate(label=f"cell {number}", settings=own))
    data = {3: few_digits, 1: few_digits}
    run_confirm(study, chosen, data, [], stage="ablation")
    trials = run_queue.call_args.args[2]
    run_queue.assert_called_once_with(study, "ablation", trials, data, [], None)
    expected = [(cell.label, cell.settings, seed) for seed in data for cell in chosen]
    assert [(trial.label, trial.settings, trial.seed) for trial in trials] == expected
    assert len({trial.trial_id for trial in trials}) == 2 * cells
    assert trials[cells].trial_id == f"ablation-{max(1000, cells)}"
