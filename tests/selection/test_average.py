"""The average of the best configurations: who belongs to it, and by which head it classifies."""

from pathlib import Path
from typing import Any

import pytest

from study.selection.average import average_candidate, average_members, average_settings
from study.selection.candidates import choose_candidates, fix_candidates
from study.selection.ranking import rank_finished_trials
from study.storage.trial_folder import End
from study.trial.study import Candidate
from tests.settings import settings
from tests.written_study import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def add(written: Written, score: float, **given: Any) -> str:
    """Write a finished trial."""
    number = len(list(written.folder.trials()))
    config = written.trial(number, **{"subset_key": str(given.get("subset", "")), **given})
    trial = written.folder.trial(config.trial_id)
    trial.append_report({"epoch": config.epochs, "val_score": score})
    trial.write_end(End("finished", config.epochs, 1.0))
    return config.trial_id


def members(written: Written, count: int = 3) -> list[int]:
    judged = rank_finished_trials(written.folder)
    return [member.config.number for member in average_members(judged, count)]


def test_members_are_the_best_trainings_of_clips_own_parameters_each_once(written: Written):
    add(written, 0.5, ln_lr=0.1)
    add(written, 0.8, ln_lr=0.2)
    add(written, 0.9, ln_lr=0.2, head="linear")  # the training of the one before
    add(written, 0.99, subset="none", ln_lr=None, peer={"method": "full", "lr": 0.1})
    add(written, 0.98, subset="none", ln_lr=None, head="linear", epochs=0)
    add(written, 0.97, subset="none", ln_lr=None, epochs=0)
    add(written, 0.6, ln_lr=0.3)
    add(written, 0.7, ln_lr=0.2, seed=1, subset="text.ln")
    assert members(written) == [2, 7, 6]
    assert members(written, 9) == [2, 7, 6, 0]
    assert members(written, 2) == [2, 7]
    assert members(written, 1) == []


def test_one_training_is_no_average(written: Written):
    add(written, 0.5)
    add(written, 0.6, subset="none", ln_lr=None, epochs=0)
    assert members(written) == []


def test_an_average_tunes_what_any_member_tunes(written: Written):
    add(written, 0.5, subset="vision.ln - vision.ln1", ln_lr=0.1)
    add(written, 0.6, subset="text.ln[0:2]", ln_lr=0.1)
    judged = rank_finished_trials(written.folder)
    text, linear = average_settings(written.study, average_members(judged, 3))
    assert (text.head, linear.head) == ("text", "linear")
    assert text.subset.startswith("text.ln[0:2] + vision.ln")
    assert "vision.ln1" not in text.subset
    assert text.rates == {}


def add_average(written: Written, score: float, head: str, *member_ids: str):
    """Write an average that was validated."""
    values = {trial_id: written.folder.trial(trial_id).read_config() for trial_id in member_ids}
    add(
        written,
        score,
        stage="average",
        trial_id=f"average-{head}-{len(list(written.folder.trials()))}",
        head=head,
        ln_lr=None,
        epochs=0,
        members=[{"trial_id": i, "settings": value["settings"]} for i, value in values.items()],
    )


def candidate(written: Written) -> Candidate | None:
    judged = rank_finished_trials(written.folder)
    best = average_members(judged, 3)
    return average_candidate(written.study, best, choose_candidates(judged, [], 0, best))


def test_the_head_is_that_of_the_higher_score_of_these_members(written: Written):
    first, second = add(written, 0.5, ln_lr=0.1), add(written, 0.6, ln_lr=0.2)
    assert candidate(written) is None
    add_average(written, 0.9, "linear", first, first)  # of other members
    assert candidate(written) is None
    add_average(written, 0.7, "text", second, first)
    add_average(written, 0.8, "linear", second, first)
    found = candidate(written)
    assert found is not None
    assert (found.label, found.settings.head, found.val_score) == ("average", "linear", 0.8)
    assert found.members == ("best", "second")


def test_members_are_tested_and_named_as_they_are_trained(written: Written):
    refit = written.config.refit.model_copy(update={"average": 3})
    written.config = written.config.model_copy(update={"refit": refit})
    clipfit = {"arm": "baseline", "label": "clipfit"}
    second, first = add(written, 0.5, ln_lr=0.1), add(written, 0.6, ln_lr=0.2, **clipfit)
    add(written, 0.4, subset="none", ln_lr=None, arm="baseline", label="zero-shot", epochs=0)
    add_average(written, 0.7, "text", first, second)
    *_, average = fix_candidates(written.study)
    assert average.members == ("clipfit", "second")
    assert average.settings == settings("vision.ln[0:2]", None, None)
