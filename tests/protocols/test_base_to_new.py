"""Base to new and generalized: half of the classes are trained, and all are tested."""

from collections import Counter

import numpy as np
import pytest

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import Shots
from study.errors import DataError
from study.protocols import BaseToNew, FewShot, Generalized, hmean
from tests.paper_dataset import make_paper_dataset

from .conftest import parts


def test_three_quarters_of_the_change_are_kept_where_classes_are_new():
    assert [own.alpha for own in (FewShot, BaseToNew, Generalized)] == [1.0, 0.75, 0.75]


@pytest.mark.parametrize("protocol, answers", [(BaseToNew(), 12), (Generalized(), 24)])
def test_a_test_scores_base_and_new_among_their_own_names_or_all(
    dataset: Dataset, shots: Shots, protocol: BaseToNew, answers: int
):
    task = protocol.task_of_test(dataset, shots)
    assert parts(task) == [("train", 48, 12), ("base", 36, answers), ("new", 36, answers)]
    base, new = task.evaluations
    assert {record.label for record in base.records} == {*range(12)}
    assert {*base.classes, *new.classes} == {*range(24)}
    assert Counter((*base.records, *new.records)) == Counter(dataset.test)
    assert parts(protocol.task_of_test(dataset, None))[0] == ("train", 0, 12)


def config(selection: str = "auto") -> StudyConfig:
    values = {"protocol": "base_to_new", "search": {"selection": selection}}
    return build_config(values, "here")


@pytest.mark.parametrize("classes, rule", [(24, "class_folds"), (22, "base")])
def test_too_few_base_classes_make_the_choice_weak_and_that_is_said(
    classes: int, rule: str, caplog: pytest.LogCaptureFixture
):
    dataset = make_paper_dataset(classes=classes)
    assert BaseToNew().rule(config(), dataset).name == rule
    message = "11 base classes" in caplog.text and "selection is weak" in caplog.text
    assert message == bool(caplog.text) == (rule == "base")


@pytest.mark.parametrize(
    "selection, report, rule",
    [
        ("auto", {"val_base": 1.0, "val_new": 0.5}, "class_folds"),
        ("auto", {"val_base": 1.0}, "base"),
        ("auto", {"val_base": 1.0, "val_new": None}, "base"),
        ("class_folds", {}, "class_folds"),
    ],
)
def test_a_report_shows_which_rule_was_used(
    selection: str, report: dict[str, float | None], rule: str
):
    assert BaseToNew().rule(config(selection), report).name == rule


def test_generalized_trains_and_selects_as_base_to_new_does(dataset: Dataset, shots: Shots):
    ours, theirs = Generalized(), BaseToNew()
    for of in (dataset, make_paper_dataset(classes=22)):
        assert ours.rule(config(), of) == theirs.rule(config(), of)
    for rule in theirs.rules:
        tasks = ours.search_tasks(dataset, shots, rule)
        assert tasks == theirs.search_tasks(dataset, shots, rule)


def test_one_base_class_leaves_generalized_nothing_to_learn():
    with pytest.raises(DataError, match="generalized needs a training split of 3 classes"):
        Generalized().task_of_test(make_paper_dataset(classes=2), None)
    task = Generalized().task_of_test(make_paper_dataset(classes=3), None)
    assert [part.classes for part in task.evaluations] == [(0, 1, 2)] * 2


def test_no_guess_that_looks_at_no_image_is_better_than_the_chance_of_generalized():
    shares = Generalized().chance({"base": [9, 1], "new": [5, 5]})
    chance = Generalized().score(shares)["score"]
    assert chance == pytest.approx(1 / 4)
    # Each class in turn has its share of the guesses, which are spread otherwise over both halves.
    assert all(hmean(share / 2, (1 - share) / 2) <= chance for share in np.linspace(0, 1, 101))
