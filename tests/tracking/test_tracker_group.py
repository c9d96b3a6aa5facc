"""Several trackers at once: what each hears, and who answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.config.schema import StudyConfig
from study.errors import ConfigError, StudyError, TrackingError
from study.storage.trial_folder import End
from study.tracking import make_tracker, make_trackers
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tensorboard import TensorBoardTracker
from study.tracking.tracker import SyncResult, Tracker
from study.tracking.tracker_group import TrackerGroup
from study.trial import TrialConfig
from study.trial.study import Study
from tests.written_study import Written


class Heard(Tracker):
    """A tracker that remembers what it heard; it may fail at all of it."""

    def __init__(self, name: str, fault: Exception | None = None) -> None:
        self.name = self.title = name
        self.fault = fault
        self.events: list[Any] = []

    def hear(self, *event: Any) -> None:
        self.events.append(event)
        if self.fault is not None:
            raise self.fault

    def check(self, config: StudyConfig) -> None:
        self.hear("check")

    def start(self, study: Study) -> None:
        self.hear("start")

    def trial_started(self, config: TrialConfig) -> None:
        self.hear("started", config.trial_id)

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        self.hear("reported", config.trial_id, epoch, metrics)

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        self.hear("ended", config.trial_id, end, score)

    def rescan_trials(self) -> None:
        self.hear("look again")

    def register(self) -> None:
        self.hear("register")

    def close(self, *, finished: bool) -> Mapping[str, str]:
        self.hear("close", finished)
        return {"search-0000": "away"}


class Whole(Heard):
    """One that answers everything."""

    def sync(self, study: Study, write_outputs: Callable[[], object]) -> SyncResult:
        self.hear("sync")
        return SyncResult(3, len(self.name))

    def describe_contents(self, study: Study) -> str:
        self.hear("held")
        return f"{self.name} has runs"

    def delete(self, study: Study) -> Sequence[str]:
        self.hear("delete")
        return [f"{self.name} is empty"]

    def best_configurations(self, **wanted: Any) -> Any:
        self.hear("best", wanted)
        return [self.name]

    def restore_exact_settings(self, found: Any) -> Any:
        return f"{found} exactly"

    def read_study_configuration(self, found: Any) -> Any:
        return f"that of {found}"

    def advice(self) -> str:
        return f"{self.name} has copies"

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        return [("page", self.name)]

    def download_model(self, address: str, folder: Path) -> Any:
        self.hear("model")
        return f"{address} of {self.name}"


@pytest.fixture
def study(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def test_each_hears_everything_where_another_one_fails(
    study: Written, caplog: pytest.LogCaptureFixture
) -> None:
    heard, faulty = Heard("heard"), Heard("faulty", ValueError("a mistake"))
    both = TrackerGroup([faulty, heard])
    config = study.trial(0)
    end = study.end(config)
    both.trial_started(config)
    both.trial_reported(config, 1, {"val_score": 0.1})
    both.trial_ended(config, end, 0.1)
    both.rescan_trials()
    both.register()
    assert both.close(finished=True) == {"search-0000": "heard: away"}
    assert heard.events == faulty.events
    assert heard.events == [
        ("started", "search-0000"),
        ("reported", "search-0000", 1, {"val_score": 0.1}),
        ("ended", "search-0000", end, 0.1),
        ("look again",),
        ("register",),
        ("close", True),
    ]
    assert caplog.text.count("Heard failed; the study goes on") == 6


def test_a_trial_that_both_lack_is_told_once_with_both_reasons() -> None:
    both = TrackerGroup([Heard("one"), Heard("other")])
    assert both.close(finished=False) == {"search-0000": "one: away; other: away"}
    assert both.title == "one and other"


def test_faults_of_all_are_told_together(study: Written) -> None:
    trackers = [Heard("one", StudyError("no room")), Heard("other", StudyError("no server"))]
    for number, told in ((1, "no room"), (2, "no room; no server")):
        with pytest.raises(StudyError) as fault:
            TrackerGroup(trackers[:number]).check(study.config)
        assert str(fault.value) == told


def test_those_that_have_started_are_closed_where_another_cannot_start(study: Written) -> None:
    started, never = Heard("started"), Heard("never")
    absent = Heard("absent", TrackingError("it is down"))
    with pytest.raises(TrackingError, match="it is down"):
        TrackerGroup([started, absent, never]).start(study.study)
    assert started.events == [("start",), ("close", False)]
    assert never.events == []


def test_all_are_asked_what_they_keep_and_those_that_keep_nothing_are_passed_over(
    study: Written,
) -> None:
    several = TrackerGroup([Heard("heard"), Whole("one"), Whole("other")])
    assert several.sync(study.study, lambda: None) == SyncResult(3, 5)
    assert several.describe_contents(study.study) == "one has runs\nother has runs"
    assert several.delete(study.study) == ["one is empty", "other is empty"]
    assert several.viewing_hints() == [("page", "one"), ("page", "other")]


def test_the_first_that_keeps_models_answers(tmp_path: Path) -> None:
    first, second = Whole("first"), Whole("second")
    several = TrackerGroup([Heard("heard"), first, second])
    assert several.download_model("models:/a/1", tmp_path) == "models:/a/1 of first"
    assert second.events == []
    first.fault = StudyError("there is no such model")
    with pytest.raises(StudyError, match="no such model"):
        several.download_model("models:/a/1", tmp_path)
    assert second.events == []


def test_the_first_that_compares_studies_tells_the_best(tmp_path: Path) -> None:
    first, second = Whole("first"), Whole("second")
    several: Any = TrackerGroup([Heard("heard"), first, second])
    wanted: dict[str, Any] = {"study": None, "where": "x > 1", "top": 2, "storage": tmp_path}
    assert several.best_configurations(**wanted) == ["first"]
    assert first.events == [("best", wanted)]
    assert several.restore_exact_settings("one") == "one exactly"
    assert several.read_study_configuration("one") == "that of one"
    assert second.events == []


def test_each_says_where_copies_are_and_which_packages_count() -> None:
    several = TrackerGroup([Heard("heard"), Whole("first"), Whole("second")])
    assert several.advice() == "first has copies\nsecond has copies"
    assert make_tracker(["mlflow", "tensorboard"]).packages == ["mlflow", "tensorboard"]


def test_one_that_fails_keeps_no_other_from_being_asked(study: Written) -> None:
    faulty, whole = Whole("faulty", TrackingError("it is down")), Whole("whole")
    with pytest.raises(TrackingError, match="it is down"):
        TrackerGroup([faulty, whole]).sync(study.study, lambda: None)
    assert whole.events == [("sync",)]


def test_where_none_can_answer_the_first_says_so(study: Written, tmp_path: Path) -> None:
    several = TrackerGroup([Heard("one"), Heard("other")])
    with pytest.raises(TrackingError, match="'one' takes results while a study runs"):
        several.sync(study.study, lambda: None)
    with pytest.raises(TrackingError, match="'one' does not delete"):
        several.describe_contents(study.study)
    with pytest.raises(TrackingError, match="'one' keeps no models"):
        several.download_model("models:/a/1", tmp_path)


def test_without_trackers_a_study_is_told_nowhere_and_commands_say_so(
    study: Written, tmp_path: Path
) -> None:
    none = TrackerGroup([])
    none.check(study.config)
    none.start(study.study)
    none.register()
    assert none.close(finished=True) == {}
    assert (none.title, list(none.viewing_hints())) == ("", [])
    for ask in (
        lambda: none.sync(study.study, lambda: None),
        lambda: none.describe_contents(study.study),
        lambda: none.download_model("models:/a/1", tmp_path),
    ):
        with pytest.raises(TrackingError, match=r"tracking\.trackers is empty"):
            ask()


def test_one_name_is_that_tracker_and_several_are_one_tracker_of_them() -> None:
    assert isinstance(make_tracker(["mlflow"]), MlflowTracker)
    assert isinstance(make_tracker(["mlflow", "tensorboard"]), TrackerGroup)
    assert isinstance(make_tracker([]), TrackerGroup)
    kinds = [type(tracker) for tracker in make_trackers(["tensorboard", "mlflow"])]
    assert kinds == [TensorBoardTracker, MlflowTracker]


def test_a_tracker_that_was_handed_over_takes_the_place_of_its_name() -> None:
    given = Heard("lines")
    assert make_tracker(["lines"], given) is given
    assert make_trackers(["mlflow", "lines"], given)[1] is given
    with pytest.raises(ConfigError, match="'mlflow' is named, but 'lines' of the trackers was"):
        make_tracker(["mlflow"], given)


def test_every_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as fault:
        make_tracker(["mlfow", "mlflow", "tensorbord"])
    assert str(fault.value) == (
        "'mlfow' is unknown (did you mean 'mlflow'?); allowed are mlflow, tensorboard; "
        "'tensorbord' is unknown (did you mean 'tensorboard'?); allowed are mlflow, tensorboard"
    )
