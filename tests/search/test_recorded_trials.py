"""The recorded trials of a stage, from which a step that was interrupted goes on."""

import pytest

from study.errors import DataError
from study.search.checkpoints import load_state
from study.search.recorded_trials import read_recorded_trials
from study.storage.trial_folder import End, TrialFolder
from study.trial.study import TrialConfig
from tests.not_none import not_none
from tests.real_study import Listener
from tests.settings import trial_data
from tests.study_writer import EPOCHS, StudyWriter


def record(written: StudyWriter, config: TrialConfig, epochs: int) -> TrialFolder:
    trial = written.folder.trial(config.trial_id)
    for epoch in range(1, epochs + 1):
        written.report(config, epoch)
    return trial


def test_trials_are_given_with_their_ends_and_scores(written: StudyWriter):
    written.whole(0, "stopped", epochs=2)
    record(written, written.trial(1), 1)
    written.trial(2, stage="test", trial_id="test-one-seed1")
    found = read_recorded_trials(written.study, "search", {}, [])
    assert list(found) == ["search-0000", "search-0001"]
    first, second = found.values()
    assert not_none(first.end).status == "stopped"
    assert first.scores == {1: 0.01, 2: 0.02}
    assert (second.end, second.earlier_end, list(second.scores)) == (None, None, [1])


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_trial_at_its_earlier_end_goes_no_further(written: StudyWriter, epochs: int):
    config = written.whole(0, "stopped", epochs=2, reason="successive halving at epoch 2")
    trial = written.folder.trial(config.trial_id)
    before = trial.read_end()
    trial.reopen()
    record(written, config, epochs)
    heard = Listener()
    (found,) = read_recorded_trials(written.study, "search", {}, [heard]).values()
    end = before if epochs == 2 else None
    assert (found.earlier_end, found.end, trial.read_end()) == (before, end, end)
    assert heard.events == ([("ended", config.trial_id, "stopped")] if end else [])


def test_a_stopped_trial_that_goes_on_keeps_its_epochs(written: StudyWriter):
    config = written.trial(0)
    trial = record(written, config, 2)
    trial.write_end(End("stopped", 2, 1.5), keep_state=True)
    trial.continue_from_state()
    for _ in range(2):  # also if its driver dies at once
        (found,) = read_recorded_trials(written.study, "search", {}, []).values()
        assert (found.end, list(found.scores)) == (None, [1, 2])
        assert not_none(found.earlier_end).epochs == EPOCHS
        assert not_none(load_state(trial))[0] == 2
    assert not trial.damaged()


def test_data_that_changed_since_a_trial_began_are_refused(written: StudyWriter):
    """As by a split file that lost a line."""
    written.trial(1, trial_id="test-clipfit-seed1", stage="test")
    data = trial_data(digest="b" * 64)
    with pytest.raises(DataError, match=r"test-clipfit-seed1; .*tasks-bbb"):
        read_recorded_trials(written.study, "test", {1: data}, [])
