"""What every protocol does: it makes tasks by its rules, and says what is wrong with a study."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.errors import ConfigError, DataError
from study.protocols import PROTOCOLS, find_protocol
from study.storage.result_folder import JsonObject
from tests.case_tables import from_table
from tests.config_faults import clipfit, protocol_faults


def test_a_protocol_is_found_by_its_name():
    assert [find_protocol(name).name for name in PROTOCOLS] == [*PROTOCOLS]
    known = "few_shot, base_to_new, generalized, transfer, zero_shot"
    with pytest.raises(ConfigError, match=f"'Few-shot'.*'few_shot'.*{known}"):
        find_protocol("Few-shot")


@from_table
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


@from_table
def test_a_selection_that_a_protocol_does_not_have_is_refused(
    protocol: str, selection: str, allowed: str
):
    config = build_config({"search": {"selection": selection}}, "here")
    with pytest.raises(DataError, match=f"allowed: {allowed}"):
        find_protocol(protocol).rule(config, {})


@from_table
def test_one_number_judges_a_trial_and_its_parts_stand_beside_it(
    protocol: str, parts: dict[str, float], scores: dict[str, float]
):
    assert find_protocol(protocol).score(parts) == pytest.approx(scores)


@from_table
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


@from_table
def test_a_value_that_the_protocol_cannot_use_is_at_fault(values: JsonObject, key: str):
    assert protocol_faults(values) == [key]


@pytest.mark.parametrize("targets", [[], ["dtd"]])
def test_zero_shot_needs_no_targets_and_may_have_some(targets: list[str]):
    assert protocol_faults({"protocol": "zero_shot", "data": {"targets": targets}}) == []


@from_table
def test_without_a_search_nothing_is_asked_of_one(protocol: str, search: JsonObject):
    search = {**search, "baselines": {"mine": clipfit()}, "selection": "base"}
    values = {"protocol": protocol, "search": search, "training": {"epochs": 2}}
    assert protocol_faults(values) == []
    assert not find_protocol(protocol).searches(build_config(values, "here"))


@from_table
def test_an_ablation_validates_where_a_kind_has_several_rates(rates: Any, chooses: bool):
    search = {"selection": "class_folds"}  # no rule of this protocol, for which it does not matter
    values = {"ablation": {"design": "only_one", "rates": rates}, "search": search}
    config = build_config(values, "here")
    assert find_protocol(config.protocol).validates(config) == chooses
    assert bool(protocol_faults(values)) == chooses
