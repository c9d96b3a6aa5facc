"""What a tracker does of itself where only its three necessary methods are written."""

import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from study.errors import TrackingError
from study.storage.trial_folder import End
from study.tracking.tracker import Tracker, describe_unsent, summarize_error
from study.trial import TrialConfig
from study.trial.study import Study
from tests.written_study import Written

SECRET = "s3cr3t-passw0rd"


class Least(Tracker):
    """A tracker that writes nothing but the methods it must."""

    name = "least"

    def start(self, study: Study) -> None:
        pass

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        pass

    def close(self, *, finished: bool) -> Mapping[str, str]:
        return {}


@pytest.fixture
def study(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def test_a_tracker_that_lacks_a_necessary_method_is_not_made() -> None:
    class Less(Least):
        close = Tracker.close

    with pytest.raises(TypeError, match="close"):
        Less()


def test_a_tracker_has_no_pages_registry_or_models_of_its_own(
    study: Written, tmp_path: Path
) -> None:
    study.whole(0)
    tracker = Least()
    assert list(tracker.viewing_hints()) == []
    tracker.check(study.config)
    tracker.start(study.study)
    tracker.register()
    assert study.folder.read_registration() is None
    with pytest.raises(TrackingError, match=r"'least'.*models:/letters/1"):
        tracker.download_model("models:/letters/1", tmp_path)
    with pytest.raises(TrackingError, match="'least' takes results while a study runs"):
        tracker.sync(study.study, lambda: None)
    with pytest.raises(TrackingError, match="'least' does not compare studies"):
        tracker.best_configurations(study=None, where=None, top=1, storage=tmp_path)
    assert (tracker.advice(), list(tracker.packages)) == ("", [])


def test_what_is_unsent_is_counted_and_each_reason_told_once() -> None:
    assert describe_unsent({"a": "away"}) == "1 run:\n  a: away"
    many = {f"t{number}": "away" for number in range(12)} | {"t3": "refused"}
    assert describe_unsent(many) == ("12 runs:\n  t0, t1, t2 and 8 more: away\n  t3: refused")
    assert describe_unsent(many, 12).splitlines()[1].endswith("t10, t11: away")


def test_an_error_is_one_line_without_its_password() -> None:
    told = summarize_error(ValueError(f"cannot open db://me:{SECRET}@host\n[SQL: SELECT 1]"))
    assert told.startswith("ValueError: cannot open db://")
    assert SECRET not in told
    assert "SQL" not in told
    assert summarize_error(ValueError()) == "ValueError: ValueError()"
    assert summarize_error(ValueError("word " * 99)).endswith("word word …")


def test_a_server_that_is_away_is_told_alike_whatever_was_asked_of_it() -> None:
    def ask(call: str) -> str:
        try:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                urllib.request.urlopen(f"http://127.0.0.1:{closed.getsockname()[1]}/{call}")
        except OSError as error:
            try:
                raise ValueError(f"call {call} failed: {error}") from error
            except ValueError as failure:
                return summarize_error(failure)
        raise AssertionError

    assert ask("one") == ask("other") == "ValueError: [Errno 111] Connection refused"
