"""Base to new: half of the classes are trained, and all are tested, in two halves."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import BaseToNew, Competition, FewShot, hmean
from tests.paper_dataset import make_paper_dataset


@pytest.mark.parametrize(
    ("parts", "hmean"),
    [
        ({"base": 1.0, "new": 0.5}, {"hmean": 2 / 3, "score": 2 / 3}),
        ({"base": 0.0, "new": 0.0}, {"hmean": 0.0, "score": 0.0}),
        ({"base": 0.5}, {"score": 0.5}),
    ],
)
def test_one_number_judges_a_trial(parts: dict[str, float], hmean: dict[str, float]) -> None:
    assert BaseToNew().score(parts) == pytest.approx(parts | hmean)


def test_beside_its_score_stand_those_where_all_names_compete() -> None:
    one = Competition(
        *(np.array([1.0, -1.0]), np.array([True, True]), np.array([0, 0])),
        *(np.array([-2.0]), np.array([True]), np.array([1])),
    )
    expected = {"generalized": pytest.approx(hmean(0.5, 1.0)), "ausuc": 1.0}
    for validation in (True, False):
        assert BaseToNew().further_scores([one], validation=validation) == expected
        assert BaseToNew().further_scores([], validation=validation) == {}
        assert FewShot().further_scores([one], validation=validation) == {}


@pytest.mark.parametrize(("given", "strength"), [(None, 0.75), (1.0, 1.0), (0.0, 0.0)])
def test_three_quarters_of_the_change_are_kept_unless_it_is_set(
    given: float | None, strength: float
) -> None:
    confirm = {"confirm": {"strength": given}}
    assert BaseToNew().configured_strength(build_config(confirm, "here")) == strength
    assert FewShot().configured_strength(build_config(confirm, "here")) == (
        1.0 if given is None else given
    )


def test_confirm_scores_base_and_new_among_their_own_names(
    dataset: Dataset, shots: Shots, parts: Any
) -> None:
    task = BaseToNew().confirm_task(dataset, shots)
    assert parts(task) == [("train", 48, 12), ("base", 36, 12), ("new", 36, 12)]
    base, new = task.evaluations
    assert base.classes == tuple(range(12))
    assert new.classes == tuple(range(12, 24))
    assert Counter((*base.records, *new.records)) == Counter(dataset.test)


def test_without_shots_nothing_is_trained(dataset: Dataset, parts: Any) -> None:
    task = BaseToNew().confirm_task(dataset, None)
    assert parts(task) == [("train", 0, 12), ("base", 36, 12), ("new", 36, 12)]


def config(selection: str = "auto") -> StudyConfig:
    values = {"protocol": "base_to_new", "search": {"selection": selection}}
    return build_config(values, "here")


@pytest.mark.parametrize(("classes", "rule"), [(24, "class_folds"), (22, "base")])
def test_too_few_base_classes_make_the_choice_weak_and_that_is_said(
    classes: int, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_paper_dataset(classes=classes)
    assert BaseToNew().rule(config(), dataset).name == rule
    assert ("11 base classes" in caplog.text) == ("the choice is weak" in caplog.text)
    assert ("the choice is weak" in caplog.text) == (rule == "base")
    assert BaseToNew().rule(config("base"), dataset).name == "base"


@pytest.mark.parametrize(
    ("selection", "report", "rule"),
    [
        ("auto", {"val_base": 1.0, "val_new": 0.5}, "class_folds"),
        ("auto", {"val_base": 1.0}, "base"),
        ("auto", {"val_base": 1.0, "val_new": None}, "base"),
        ("class_folds", {}, "class_folds"),
    ],
)
def test_a_report_shows_which_rule_was_used(
    selection: str, report: dict[str, float | None], rule: str
) -> None:
    assert BaseToNew().rule_from_report(config(selection), report).name == rule
