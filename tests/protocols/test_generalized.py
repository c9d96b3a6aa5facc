"""Generalized: half of the classes are trained, and all are tested, with all names as answers."""

from collections import Counter

import numpy as np
import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.errors import DataError
from study.protocols import BaseToNew, Generalized, hmean
from tests.paper_dataset import make_paper_dataset

from .conftest import parts

ALL = tuple(range(24))


def test_a_test_scores_base_and_new_among_all_names(dataset: Dataset, shots: Shots):
    task = Generalized().task_of_test(dataset, shots)
    assert parts(task) == [("train", 48, 12), ("base", 36, 24), ("new", 36, 24)]
    base, new = task.evaluations
    assert base.classes == new.classes == ALL
    assert {record.label for record in base.records} == set(ALL[:12])
    assert Counter((*base.records, *new.records)) == Counter(dataset.test)


def test_what_is_trained_and_chosen_by_is_that_of_base_to_new(dataset: Dataset, shots: Shots):
    ours, theirs = Generalized(), BaseToNew()
    assert ours.task_of_test(dataset, shots).train == theirs.task_of_test(dataset, shots).train
    config = build_config({"protocol": "generalized"}, "here")
    for of in (dataset, make_paper_dataset(classes=22)):
        assert ours.rule(config, of) == theirs.rule(config, of)
    for rule in theirs.rules:
        tasks = ours.search_tasks(dataset, shots, rule)
        assert tasks == theirs.search_tasks(dataset, shots, rule)


def test_one_base_class_leaves_nothing_to_learn():
    with pytest.raises(DataError, match="generalized needs a training split of 3 classes"):
        Generalized().task_of_test(make_paper_dataset(classes=2), None)
    task = Generalized().task_of_test(make_paper_dataset(classes=3), None)
    assert [part.classes for part in task.evaluations] == [(0, 1, 2)] * 2


def test_no_guess_that_looks_at_no_image_is_better_than_chance():
    shares = Generalized().chance({"base": [9, 1], "new": [5, 5]})
    chance = Generalized().score(shares)["score"]
    assert chance == pytest.approx(1 / 4)
    # Each class in turn has its share of the guesses, which are spread otherwise over both halves.
    assert all(hmean(share / 2, (1 - share) / 2) <= chance for share in np.linspace(0, 1, 101))
