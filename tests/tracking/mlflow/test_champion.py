"""Which of two versions is champion, and that studies decide it one after the other."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.tracking.mlflow import champion
from study.tracking.mlflow.champion import judge
from study.tracking.mlflow.registry import register_best
from study.tracking.mlflow.study_run import StudyRun
from tests.not_none import not_none

CHAMPION = {
    **{"protocol": "base_to_new", "metric": "hmean", "selection": "class_folds"},
    **{"split_hash": "a1", "val_score": "0.8", "study": "s", "study_id": "1", "source_trial": "t"},
}
BETTER = {**CHAMPION, "val_score": "0.81", "study_id": "2"}


@pytest.mark.parametrize(
    "challenger, holder, wins, reason",
    [
        (BETTER, None, True, "no champion before"),
        (BETTER, CHAMPION, True, "81.0%"),
        (BETTER | {"val_score": "0.8"}, CHAMPION, False, "not above"),
        (BETTER | {"val_score": "0.7", "test_score": "1.0"}, CHAMPION, False, "not above"),
        (CHAMPION | {"val_score": "0.7"}, CHAMPION, True, "another training"),
        (
            BETTER | {"split_hash": "b2"},
            CHAMPION,
            False,
            "the split_hash differs (b2 instead of a1)",
        ),
        (BETTER | {"selection": "holdout"}, CHAMPION, False, "the selection differs (holdout"),
        (BETTER | {"protocol": "generalized"}, CHAMPION, False, "the protocol differs"),
        (BETTER | {"beats_chance": "not shown"}, None, False, "better than chance"),
        (BETTER | {"beats_chance": "shown"}, CHAMPION, True, "81.0%"),
        (BETTER, CHAMPION | {"beats_chance": "not shown"}, True, "81.0%"),
    ],
)
def test_the_alias_moves_for_a_better_validation_score_that_compares_alone(
    challenger: dict[str, str], holder: dict[str, str] | None, wins: bool, reason: str
):
    decided, why = judge(challenger, holder)
    assert decided is wins
    assert reason in why


@pytest.mark.long
@pytest.mark.ci
def test_studies_that_register_at_once_leave_the_alias_with_the_best_of_them(
    finish: Any, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
):
    before_the_move = threading.Barrier(2)

    def judge_together(*tags: Any) -> tuple[bool, str]:
        with suppress(threading.BrokenBarrierError):
            before_the_move.wait(1)  # at which no other may be
        time.sleep(1 * (tags[0]["val_score"] == "0.8"))  # the worse one would move it last
        return judge(*tags)

    monkeypatch.setattr(champion, "judge", judge_together)
    runs = [
        StudyRun(finish(tmp_path, name, val_score=score).study, store)
        for name, score in (("better", 0.9), ("worse", 0.8))
    ]
    with ThreadPoolExecutor() as pool:
        better, worse = map(not_none, pool.map(register_best, runs))
    assert better.champion
    assert better.version != worse.version
    alias = MlflowClient(store).get_model_version_by_alias("clipfit-digits", "champion")
    assert str(alias.version) == better.version
