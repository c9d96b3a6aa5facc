"""Protocols: the tasks, rules and scores of each, and what is wrong with a study of it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots, draw_shots
from study.data.tasks import Task
from study.errors import DataError
from study.protocols import PROTOCOLS, BaseToNew, Generalized, find_protocol, hmean
from study.storage.result_folder import JsonObject
from tests.config_faults import clipfit, protocol_faults
from tests.paper_dataset import make_paper_dataset


@pytest.fixture
def dataset() -> Dataset:
    """24 classes: 12 base, 12 new."""
    return make_paper_dataset(classes=24)


@pytest.fixture
def shots(dataset: Dataset) -> Shots:
    """Four shots of each class, and three to validate on."""
    return draw_shots(dataset, shots=4, val_shots=3, seed=1)


# Tasks


def parts(task: Task) -> list[tuple[str, int, int]]:
    """Return the name, the number of images and that of classes of every part of a task."""
    every = (task.train, *task.evaluations)
    return [(part.name, len(part.records), len(part.classes)) for part in every]


@pytest.mark.parametrize(
    "protocol, expected",
    [
        ("few_shot", [("train", 96, 24), ("accuracy", 72, 24)]),
        ("zero_shot", [("train", 0, 24), ("accuracy", 72, 24)]),
        ("base_to_new", [("train", 48, 12), ("base", 36, 12), ("new", 36, 12)]),
        ("generalized", [("train", 48, 12), ("base", 36, 24), ("new", 36, 24)]),
        ("transfer", [("train", 96, 24), ("accuracy", 72, 24), ("shift", 15, 5)]),
    ],
)
def test_a_test_scores_every_part_among_its_possible_names(
    protocol: str, expected: list[tuple[str, int, int]], dataset: Dataset, shots: Shots
):
    target = replace(make_paper_dataset(classes=5), name="shift", train=(), val=())
    targets = [target] if protocol == "transfer" else []
    task = find_protocol(protocol).task_of_test(dataset, shots, targets)
    assert parts(task) == expected
    own = [part for part in task.evaluations if part.name != "shift"]
    assert Counter(record for part in own for record in part.records) == Counter(dataset.test)
    assert {*own[0].classes, *own[-1].classes} == {*range(24)}
    assert {record.label for record in own[0].records} == {*task.train.classes}


def test_half_of_the_classes_is_trained_if_it_leaves_something_to_learn(dataset: Dataset):
    assert parts(BaseToNew().task_of_test(dataset, None))[0] == ("train", 0, 12)
    with pytest.raises(DataError, match="generalized needs 3 or more classes with training images"):
        Generalized().task_of_test(make_paper_dataset(classes=2), None)
    task = Generalized().task_of_test(make_paper_dataset(classes=3), None)
    assert [part.classes for part in task.evaluations] == [(0, 1, 2)] * 2
    with pytest.raises(DataError, match="base_to_new needs 2 or more classes with training images"):
        BaseToNew().task_of_test(make_paper_dataset(classes=1), None)


@pytest.mark.parametrize(
    "protocol, selection",
    [
        ("few_shot", "holdout"),
        ("few_shot", "folds"),
        ("base_to_new", "class_folds"),
        ("base_to_new", "base"),
        ("generalized", "class_folds"),
        ("transfer", "holdout"),
    ],
)
def test_no_search_task_holds_a_test_image_or_a_new_class(
    protocol: str, selection: str, dataset: Dataset, shots: Shots
):
    judge = find_protocol(protocol)
    config = build_config({"search": {"selection": selection}}, "here")
    tasks = judge.search_tasks(dataset, shots, judge.rule(config, dataset), 3)
    for part in (p for task in tasks for p in (task.train, *task.evaluations)):
        assert not set(part.records) & set(dataset.test)
        assert {record.label for record in part.records} <= set(part.classes)
        assert protocol in ("few_shot", "transfer") or max(part.classes) < 12


# Rules


@pytest.mark.parametrize(
    "data, search, rule",
    [
        ({"shots": 1}, {}, "holdout"),
        ({"shots": 1, "val_shots": 3}, {}, "folds"),
        ({"shots": 16}, {"folds": 21}, "holdout"),
        ({"shots": 16}, {"folds": 20}, "folds"),
        ({"shots": 16}, {"selection": "holdout"}, "holdout"),
    ],
)
def test_folds_are_chosen_if_each_has_every_class(
    dataset: Dataset, data: JsonObject, search: JsonObject, rule: str
):
    config = build_config({"data": data, "search": {"folds": None, **search}}, "here")
    few_shot = find_protocol("few_shot")
    assert few_shot.rule(config, dataset).name == few_shot.rule(config, {}).name == rule


@pytest.mark.parametrize("protocol", ["base_to_new", "generalized"])
@pytest.mark.parametrize("classes, rule", [(24, "class_folds"), (22, "base")])
def test_too_few_base_classes_make_the_selection_weak_and_warn(
    classes: int, rule: str, protocol: str, caplog: pytest.LogCaptureFixture
):
    dataset = make_paper_dataset(classes=classes)
    config = build_config({"protocol": protocol}, "here")
    assert find_protocol(protocol).rule(config, dataset).name == rule
    message = "11 base classes" in caplog.text and "less reliable" in caplog.text
    assert message == bool(caplog.text) == (rule == "base")


@pytest.mark.parametrize(
    "selection, report, rule",
    [
        ("auto", {"val_base": 1.0, "val_new": 0.5}, "class_folds"),
        ("auto", {"val_base": 1.0, "val_new": None}, "base"),
        ("class_folds", {}, "class_folds"),
    ],
)
def test_a_report_shows_which_rule_was_used(
    selection: str, report: dict[str, float | None], rule: str
):
    config = build_config({"protocol": "base_to_new", "search": {"selection": selection}}, "here")
    assert BaseToNew().rule(config, report).name == rule


@pytest.mark.parametrize(
    "protocol, allowed", [("base_to_new", "class_folds, base"), ("zero_shot", "none")]
)
def test_a_selection_that_a_protocol_does_not_have_is_refused(protocol: str, allowed: str):
    config = build_config({"search": {"selection": "holdout"}}, "here")
    with pytest.raises(DataError, match=f"expected {allowed}"):
        find_protocol(protocol).rule(config, {})


# Scores

H = 2 / 3
"""The harmonic mean of 1 and 0.5."""


@pytest.mark.parametrize(
    "protocol, parts, scores",
    [
        ("base_to_new", {"base": 1, "new": 0.5}, {"base": 1, "new": 0.5, "hmean": H, "score": H}),
        ("base_to_new", {"base": 0, "new": 0}, {"base": 0, "new": 0, "hmean": 0, "score": 0}),
        ("base_to_new", {"base": 0.5}, {"base": 0.5, "score": 0.5}),
        ("transfer", {"accuracy": 0.25}, {"accuracy": 0.25, "score": 0.25}),
        (
            "transfer",
            {"accuracy": 1, "dtd": 0.5, "pets": 0.25},
            {"source": 1, "dtd": 0.5, "pets": 0.25, "score": 0.375},
        ),
        ("zero_shot", {"accuracy": 1, "dtd": 0.5}, {"source": 1, "dtd": 0.5, "score": 0.75}),
    ],
)
def test_one_number_judges_a_trial_and_its_parts_stand_beside_it(
    protocol: str, parts: dict[str, float], scores: dict[str, float]
):
    assert find_protocol(protocol).score(parts) == pytest.approx(scores)


# The images of each class in each part. Where accuracies are averaged over classes, all names
# possible, their numbers count for nothing. The second is the harmonic mean of 0.8 and 0.75.
@pytest.mark.parametrize(
    "protocol, parts, chance",
    [
        ("few_shot", {"accuracy": [60, 20, 20]}, 0.6),
        ("base_to_new", {"base": [80, 20], "new": [10, 30]}, 0.77419355),
        ("generalized", {"base": [80, 20], "new": [20, 5, 5]}, 0.2),
        ("transfer", {"accuracy": [9, 1], "dtd": [1, 1], "pets": [1, 3]}, 0.625),
        ("zero_shot", {"accuracy": [9, 1], "dtd": [1, 1]}, 0.7),
    ],
)
def test_parts_make_up_chance_as_they_make_up_a_score(
    protocol: str, parts: dict[str, list[int]], chance: float
):
    own = find_protocol(protocol)
    assert own.score(own.chance(parts))["score"] == pytest.approx(chance)


def test_no_blind_guess_beats_the_chance_of_generalized():
    shares = Generalized().chance({"base": [9, 1], "new": [5, 5]})
    chance = Generalized().score(shares)["score"]
    assert chance == pytest.approx(1 / 4)
    # Each class in turn has its share of the guesses, which are spread otherwise over both halves.
    assert all(hmean(share / 2, (1 - share) / 2) <= chance for share in np.linspace(0, 1, 101))


def test_a_balanced_protocol_counts_classes_alike_and_says_so():
    plain, averaged = find_protocol("few_shot"), find_protocol("generalized")
    balanced = plain.balanced()
    assert (balanced.class_averaged, balanced.metric) == (True, "balanced accuracy")
    assert "averaged over classes" in balanced.sentence
    assert (plain.class_averaged, plain.metric) == (False, "accuracy")
    assert averaged.balanced() is averaged


def test_three_quarters_of_the_change_are_kept_where_classes_are_new():
    assert [find_protocol(name).alpha for name in PROTOCOLS] == [1.0, 0.75, 0.75, 1.0, 1.0]


# Studies

RATES: JsonObject = {"design": "only_one", "rates": [0.01, 0.1]}


# The values given, and the key at fault.
@pytest.mark.parametrize(
    "values, key",
    [
        ({"search": {"trials": 3}}, "search.trials"),
        (
            {"search": {"trials": 0, "baselines": {"mine": {"method": "full"}}}},
            "search.baselines.mine",
        ),
        ({"search": {"selection": "class_folds"}}, "search.selection"),
        ({"search": {"trials": 0, "minutes": 5}}, "search.minutes"),
        ({"search": {"trials": 0}, "final": {"images": "everything"}}, "final.images"),
        ({"protocol": "generalized", "search": {"metric": "accuracy"}}, "search.metric"),
        ({"protocol": "transfer"}, "data.targets"),
        ({"protocol": "zero_shot", "ablation": RATES}, "ablation"),
    ],
)
def test_a_value_that_the_protocol_cannot_use_is_at_fault(values: JsonObject, key: str):
    assert protocol_faults(values) == [key]


@pytest.mark.parametrize(
    "protocol, search, targets",
    [("few_shot", {"trials": 0}, []), ("zero_shot", {}, []), ("zero_shot", {}, ["dtd"])],
)
def test_without_a_search_nothing_is_asked_of_one(
    protocol: str, search: JsonObject, targets: list[str]
):
    search = {**search, "baselines": {"mine": clipfit()}, "selection": "base"}
    values = {"protocol": protocol, "search": search, "training": {"epochs": 2}}
    values["data"] = {"targets": targets}
    assert protocol_faults(values) == []
    assert not find_protocol(protocol).searches(build_config(values, "here"))


@pytest.mark.parametrize(
    "rates, chooses", [([0.1, 0.1], False), ({"bias": [0.1], "ln": [0.2, 0.3]}, True)]
)
def test_an_ablation_validates_where_a_kind_has_several_rates(rates: Any, chooses: bool):
    search = {"selection": "class_folds"}  # no rule of this protocol, for which it does not matter
    values = {"ablation": {"design": "only_one", "rates": rates}, "search": search}
    config = build_config(values, "here")
    assert find_protocol(config.protocol).validates(config) == chooses
    assert protocol_faults(values) == ["search.selection"] * chooses
