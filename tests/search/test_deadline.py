"""The time of a search: what is begun, what goes on, and what it counts."""

from collections.abc import Callable

from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.tiny_study import TinyStudy

MakeStudy = Callable[..., TinyStudy]


def test_a_search_ends_in_its_time_with_all_baselines_and_what_was_done(
    make_study: MakeStudy,
):
    search = {"trials": 2000, "minutes": 0.02, "asha": None}
    study = make_study("in-time", search=search)
    with trials_in_process():
        study.search()
    ends = {trial.trial_id: not_none(trial.read_end()) for trial in study.folder.trials()}
    assert 5 <= len(ends) < 1000
    for trial_id, end in ends.items():
        if study.folder.trial(trial_id).read_config()["group"] == "baseline":
            assert end.status == "finished"
        elif end.status == "stopped":
            assert str(end.reason).startswith("the time of the search was over at epoch")
    over = study.config.search.model_copy(update={"minutes": 1e-6})
    study.config = study.config.model_copy(update={"search": over})
    with trials_in_process():
        study.search()
    assert {trial.trial_id: trial.read_end() for trial in study.folder.trials()} == ends
