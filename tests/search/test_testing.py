"""The test of trainings on several seeds."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from study.search.testing import run_test, trainings_of

from study.config.labels import WITH_DELTA
from study.config.schema import StudyConfig
from study.config.trial_settings import TrialSettings
from study.search import testing
from study.storage.study_folder import StudyFolder
from study.trial import TrialData
from study.trial.study import BEST, Candidate
from tests.settings import settings, study_of

TEXT = settings("vision.ln", None, 0.01)
LINEAR = TEXT.model_copy(update={"head": "linear"})
FULL = TrialSettings.model_validate({"subset": "none", "peer": {"method": "full", "lr": 1e-5}})


def candidate(label: str, own: TrialSettings, training: str) -> Candidate:
    return Candidate(label=label, settings=own, training=training, choice=8)


def test_candidates_of_one_training_share_it_and_the_final_model_has_its_head():
    other, plain = candidate("other", TEXT, "b"), candidate("plain", TEXT, "a")
    linear, best = candidate("linear", LINEAR, "a"), candidate(BEST, LINEAR, "a")
    assert [*trainings_of([other, plain, linear]).items()] == [("b", TEXT), ("a", TEXT)]
    assert [*trainings_of([other, plain, best]).items()] == [("b", TEXT), ("a", LINEAR)]
    # The final model is of the best that can be written, where the best cannot.
    full, written = candidate(BEST, FULL, "f"), candidate(WITH_DELTA, LINEAR, "a")
    assert trainings_of([full, plain, written]) == {"f": FULL, "a": LINEAR}


@pytest.mark.parametrize("cells", [2, 1000, 1001])
def test_each_cell_of_an_ablation_is_tested_once_with_each_seed_under_a_name_of_its_own(
    few_digits: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: int
):
    run_queue = create_autospec(testing.run_queue)
    monkeypatch.setattr(testing, "run_queue", run_queue)
    # takes a while
    monkeypatch.setattr("study.search.make_trial.compute_config_hash", lambda *_: "")
    study = study_of(StudyConfig(), StudyFolder(tmp_path))
    chosen = {
        f"cell {number}": settings("vision.ln", None, 0.01 + number / 10_000)
        for number in range(cells)
    }
    data = {3: few_digits, 1: few_digits}
    run_test(study, chosen, data, [], stage="ablation")
    trials = run_queue.call_args.args[2]
    run_queue.assert_called_once_with(study, "ablation", trials, data, [])
    expected = [(label, own, seed) for seed in data for label, own in chosen.items()]
    assert [(trial.label, trial.settings, trial.seed) for trial in trials] == expected
    assert len({trial.trial_id for trial in trials}) == 2 * cells
    assert trials[cells].trial_id == f"ablation-{max(1000, cells)}"
