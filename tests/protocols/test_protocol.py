"""What every protocol does: it makes tasks by its rules, and says what is wrong with a study."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.errors import ConfigError, DataError
from study.protocols import PROTOCOLS, find_protocol
from study.storage.result_folder import JsonObject
from tests.config_faults import baselines, clipfit, protocol_faults


def test_a_protocol_is_found_by_its_name():
    assert [find_protocol(name).name for name in PROTOCOLS] == [*PROTOCOLS]
    known = "few_shot, base_to_new, generalized, transfer, zero_shot"
    with pytest.raises(ConfigError, match=f"'Few-shot'.*'few_shot'.*{known}"):
        find_protocol("Few-shot")


@pytest.mark.parametrize(
    "protocol, selection",
    [
        ("few_shot", "holdout"),
        ("few_shot", "folds"),
        ("base_to_new", "class_folds"),
        ("base_to_new", "base"),
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
        assert protocol != "base_to_new" or max(part.classes) < 12


@pytest.mark.parametrize(
    "protocol, selection, allowed",
    [
        ("few_shot", "class_folds", "holdout, folds"),
        ("base_to_new", "holdout", "class_folds, base"),
        ("zero_shot", "holdout", "no selection"),
    ],
)
def test_a_selection_that_a_protocol_does_not_have_is_refused(
    protocol: str, selection: str, allowed: str
):
    config = build_config({"search": {"selection": selection}}, "here")
    with pytest.raises(DataError, match=f"expected {allowed}"):
        find_protocol(protocol).rule(config, {})


H = 2 / 3
"""The harmonic mean of 1 and 0.5."""


@pytest.mark.parametrize(
    "protocol, parts, scores",
    [
        ("few_shot", {"accuracy": 0.25}, {"accuracy": 0.25, "score": 0.25}),
        ("base_to_new", {"base": 1, "new": 0.5}, {"base": 1, "new": 0.5, "hmean": H, "score": H}),
        ("base_to_new", {"base": 0, "new": 0}, {"base": 0, "new": 0, "hmean": 0, "score": 0}),
        ("base_to_new", {"base": 0.5}, {"base": 0.5, "score": 0.5}),
        ("generalized", {"base": 0.5, "new": 1}, {"base": 0.5, "new": 1, "hmean": H, "score": H}),
        ("transfer", {"accuracy": 0.25}, {"accuracy": 0.25, "score": 0.25}),
        (
            "transfer",
            {"accuracy": 1, "dtd": 0.5, "pets": 0.25},
            {"source": 1, "dtd": 0.5, "pets": 0.25, "score": 0.375},
        ),
        ("zero_shot", {"accuracy": 0.5}, {"accuracy": 0.5, "score": 0.5}),
        ("zero_shot", {"accuracy": 1, "dtd": 0.5}, {"source": 1, "dtd": 0.5, "score": 0.75}),
    ],
)
def test_one_number_judges_a_trial_and_its_parts_stand_beside_it(
    protocol: str, parts: dict[str, float], scores: dict[str, float]
):
    assert find_protocol(protocol).score(parts) == pytest.approx(scores)


# The images of each class in each part. Where accuracies are averaged over classes, all names
# possible, their numbers count for nothing. The fourth is the harmonic mean of 0.8 and 0.75.
@pytest.mark.parametrize(
    "protocol, parts, chance",
    [
        ("few_shot", {"accuracy": [40, 40, 40]}, 0.33333333),
        ("few_shot", {"accuracy": [60, 20, 20]}, 0.6),
        ("base_to_new", {"base": [10, 10], "new": [10, 10, 10, 10]}, 0.33333333),
        ("base_to_new", {"base": [80, 20], "new": [10, 30]}, 0.77419355),
        ("base_to_new", {"base": [10, 30]}, 0.75),
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


def test_a_balanced_protocol_counts_classes_alike_and_says_so():
    plain, averaged = find_protocol("few_shot"), find_protocol("generalized")
    balanced = plain.balanced()
    assert (balanced.class_averaged, balanced.metric) == (True, "balanced accuracy")
    assert "averaged over classes" in balanced.sentence
    assert (plain.class_averaged, plain.metric) == (False, "accuracy")
    assert averaged.balanced() is averaged


RATES: JsonObject = {"design": "only_one", "rates": [0.01, 0.1]}
SEVEN = baselines(**{name: clipfit() for name in ("a", "b", "c", "d", "e")})


# The values given, and the key at fault.
@pytest.mark.parametrize(
    "values, key",
    [
        ({"search": {"trials": 3}}, "search.trials"),
        ({"search": {"baselines": {"zero-shot": None}}}, "search.baselines"),
        ({"search": {"trials": 9, "baselines": SEVEN}}, "search.trials"),
        (
            {"search": {"trials": 0, "baselines": {"mine": {"method": "full"}}}},
            "search.baselines.mine",
        ),
        (
            {"search": {"asha": {"grace_period": 30}}, "training": {"epochs": 20}},
            "search.asha.grace_period",
        ),
        ({"search": {"selection": "class_folds"}}, "search.selection"),
        ({"search": {"selection": "Holdout"}}, "search.selection"),
        ({"protocol": "base_to_new", "search": {"selection": "holdout"}}, "search.selection"),
        (
            {"protocol": "transfer", "data": {"targets": ["dtd"]}, "search": {"selection": "base"}},
            "search.selection",
        ),
        ({"search": {"trials": 0, "minutes": 5}}, "search.minutes"),
        ({"data": {"targets": ["dtd"]}}, "data.targets"),
        ({"protocol": "transfer"}, "data.targets"),
        ({"protocol": "zero_shot", "ablation": RATES}, "ablation"),
        ({"protocol": "transfer", "data": {"targets": ["dtd"]}, "ablation": RATES}, "ablation"),
        ({"ablation": RATES, "search": {"selection": "class_folds"}}, "search.selection"),
    ],
)
def test_a_value_that_the_protocol_cannot_use_is_at_fault(values: JsonObject, key: str):
    assert protocol_faults(values) == [key]


@pytest.mark.parametrize("targets", [[], ["dtd"]])
def test_zero_shot_needs_no_targets_and_may_have_some(targets: list[str]):
    assert protocol_faults({"protocol": "zero_shot", "data": {"targets": targets}}) == []


@pytest.mark.parametrize("protocol, search", [("few_shot", {"trials": 0}), ("zero_shot", {})])
def test_without_a_search_nothing_is_asked_of_one(protocol: str, search: JsonObject):
    search = {**search, "baselines": {"mine": clipfit()}, "selection": "base"}
    values = {"protocol": protocol, "search": search, "training": {"epochs": 2}}
    assert protocol_faults(values) == []
    assert not find_protocol(protocol).searches(build_config(values, "here"))


@pytest.mark.parametrize(
    "rates, chooses",
    [
        ([0.1, 0.2], True),
        ([0.1, 0.1], False),
        ({"bias": [0.1], "ln": [0.2]}, False),
        ({"bias": [0.1], "ln": [0.2, 0.3]}, True),
    ],
)
def test_an_ablation_validates_where_a_kind_has_several_rates(rates: Any, chooses: bool):
    search = {"selection": "class_folds"}  # no rule of this protocol, for which it does not matter
    values = {"ablation": {"design": "only_one", "rates": rates}, "search": search}
    config = build_config(values, "here")
    assert find_protocol(config.protocol).validates(config) == chooses
    assert bool(protocol_faults(values)) == chooses
