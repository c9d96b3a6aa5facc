"""The trials of a stage on disk, and what is repaired of those that a dead driver left open."""

import json
from dataclasses import asdict

import pytest

from study.errors import DataError
from study.method.delta import DeltaInfo, to_checked_bytes
from study.search.recorded import read_recorded
from study.search.recording import STATE, load_state
from study.storage.trial_folder import End, TrialFolder
from study.trial.study import TrialConfig
from tests import small_trials
from tests.not_none import not_none
from tests.tiny_study import Listener
from tests.written_study import EPOCHS, Written

INFO = DeltaInfo("tiny", None, "", "ln", class_names=("a",), templates=("{}",))


def record(written: Written, config: TrialConfig, epochs: int) -> TrialFolder:
    """Record epochs of a trial, and the state after them."""
    trial = written.folder.trial(config.trial_id)
    for epoch in range(1, epochs + 1):
        written.report(config, epoch, 0.75)
    facts = {"epoch": str(epochs), "info": json.dumps(asdict(INFO))}
    facts["reports"] = trial.reports_digest(epochs)
    trial.write(STATE, to_checked_bytes({}, facts))
    return trial


def test_trials_are_given_with_their_ends_and_scores(written: Written):
    written.whole(0, "stopped", epochs=2)
    record(written, written.trial(1), 1)
    written.trial(2, stage="test", trial_id="test-one-seed1")
    found = read_recorded(written.study, "search", {}, [])
    assert list(found) == ["search-0000", "search-0001"]
    first, second = found.values()
    assert not_none(first.end).status == "stopped"
    assert first.scores == {1: 0.01, 2: 0.02}
    assert (second.end, second.before, list(second.scores)) == (None, None, [1])


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_that_came_to_its_earlier_end_as_its_driver_died_goes_no_further(
    written: Written, epochs: int
):
    config = written.whole(0, "stopped", epochs=2, reason="successive halving at epoch 2")
    trial = written.folder.trial(config.trial_id)
    before = trial.read_end()
    trial.reopen()
    record(written, config, epochs)
    heard = Listener()
    (found,) = read_recorded(written.study, "search", {}, [heard]).values()
    end = before if epochs == 2 else None
    assert (found.before, found.end, trial.read_end()) == (before, end, end)
    assert heard.events == ([("ended", config.trial_id, "stopped")] if end else [])


def test_a_stopped_trial_that_goes_on_keeps_its_epochs_and_runs_to_its_last(written: Written):
    config = written.trial(0)
    trial = record(written, config, 2)
    trial.write_end(End("stopped", 2, 1.5), keep_state=True)
    trial.go_on(EPOCHS)
    for _ in range(2):  # also if its driver dies at once
        (found,) = read_recorded(written.study, "search", {}, []).values()
        assert (found.end, list(found.scores)) == (None, [1, 2])
        assert not_none(found.before).epochs == EPOCHS
        assert not_none(load_state(trial))[0] == 2
    assert not trial.damaged()


def test_data_that_changed_since_a_trial_began_are_refused(written: Written):
    """As by a split file that lost a line."""
    written.trial(1, trial_id="test-clipfit-seed1", stage="test")
    data = small_trials.trial_data(digest="b" * 64)
    with pytest.raises(DataError, match=r"test-clipfit-seed1 .*tasks-bbb"):
        read_recorded(written.study, "test", {1: data}, [])
