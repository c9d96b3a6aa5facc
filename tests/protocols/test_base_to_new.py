"""Base to new: half of the classes are trained, and all are tested, in two halves."""

from collections import Counter

import pytest

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import BaseToNew, FewShot, Generalized, hmean
from tests.case_tables import from_table
from tests.paper_dataset import make_paper_dataset

from .conftest import competition, parts


def test_beside_its_score_stands_h_where_all_names_compete():
    one = competition(seen=[(1.0, True, 0), (-1.0, True, 0)], unseen=[(-2.0, True, 1)])
    expected = {"generalized": pytest.approx(hmean(0.5, 1.0))}
    assert BaseToNew().further_scores([one]) == expected
    assert BaseToNew().further_scores([]) == {}
    assert FewShot().further_scores([one]) == {}


def test_three_quarters_of_the_change_are_kept_where_classes_are_new():
    assert [own.strength for own in (FewShot, BaseToNew, Generalized)] == [1.0, 0.75, 0.75]


def test_a_test_scores_base_and_new_among_their_own_names(dataset: Dataset, shots: Shots):
    task = BaseToNew().task_of_test(dataset, shots)
    assert parts(task) == [("train", 48, 12), ("base", 36, 12), ("new", 36, 12)]
    base, new = task.evaluations
    assert base.classes + new.classes == tuple(range(24))
    assert Counter((*base.records, *new.records)) == Counter(dataset.test)
    without_shots = BaseToNew().task_of_test(dataset, None)
    assert parts(without_shots) == [("train", 0, 12), ("base", 36, 12), ("new", 36, 12)]


def config(selection: str = "auto") -> StudyConfig:
    values = {"protocol": "base_to_new", "search": {"selection": selection}}
    return build_config(values, "here")


@from_table
def test_too_few_base_classes_make_the_choice_weak_and_that_is_said(
    classes: int, rule: str, caplog: pytest.LogCaptureFixture
):
    dataset = make_paper_dataset(classes=classes)
    assert BaseToNew().rule(config(), dataset).name == rule
    told = "11 base classes" in caplog.text and "the choice is weak" in caplog.text
    assert told == bool(caplog.text) == (rule == "base")


@from_table
def test_a_report_shows_which_rule_was_used(
    selection: str, report: dict[str, float | None], rule: str
):
    assert BaseToNew().rule(config(selection), report).name == rule
