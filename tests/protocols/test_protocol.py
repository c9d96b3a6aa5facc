"""What every protocol does: it makes tasks by its rules, and says what is wrong with a study."""

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.data.images.decode import ImageCache, decode_images
from study.data.records import Dataset
from study.data.shots import Shots, draw_shots
from study.errors import DataError
from study.protocols import PROTOCOLS, find_protocol
from tests.config_faults import clipfit, protocol_faults

FAULTS = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text())["faults"]


@pytest.mark.parametrize(
    ("protocol", "selection"),
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
) -> None:
    judge = find_protocol(protocol)
    tasks = judge.search_tasks(dataset, shots, judge.find_rule(selection), 3)
    for part in (p for task in tasks for p in (task.train, *task.evaluations)):
        assert not set(part.records) & set(dataset.test)
        assert {record.label for record in part.records} <= set(part.classes)
        assert protocol != "base_to_new" or max(part.classes) < 12


@pytest.mark.parametrize(
    ("protocol", "selection", "allowed"),
    [
        ("few_shot", "class_folds", "holdout, folds"),
        ("base_to_new", "holdout", "class_folds, base"),
        ("zero_shot", "holdout", "no selection"),
    ],
)
def test_a_selection_that_a_protocol_does_not_have_is_refused(
    protocol: str, selection: str, allowed: str
) -> None:
    with pytest.raises(DataError, match=f"allowed: {allowed}"):
        find_protocol(protocol).find_rule(selection)


@pytest.mark.parametrize(
    ("protocol", "selection"), [("few_shot", "holdout"), ("base_to_new", "class_folds")]
)
def test_everything_before_confirm_works_with_the_test_images_gone(
    protocol: str, selection: str, miniature: ModuleType, tmp_path: Path
) -> None:
    miniature.make("dtd", tmp_path / "data", classes=24, counts=(2, 1, 1))
    for record in load_dataset("dtd", tmp_path / "data").test:
        (tmp_path / "data" / "dtd" / record.path).unlink()
    dataset = load_dataset("dtd", tmp_path / "data")
    shots = draw_shots(dataset, shots=2, seed=1)
    judge = find_protocol(protocol)
    tasks = judge.search_tasks(dataset, shots, judge.find_rule(selection), 3)
    parts = [part for task in tasks for part in (task.train, *task.evaluations)]
    paths = [record.path for part in parts for record in part.records]
    decode_images(dataset.source, paths, ImageCache(tmp_path / "cache", "dtd", size=8))
    task = judge.confirm_task(dataset, shots)
    paths = [record.path for record in task.evaluations[0].records]
    with pytest.raises(DataError, match="no such image"):
        decode_images(dataset.source, paths, ImageCache(tmp_path / "cache", "dtd", size=8))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_travels_to_the_workers_of_trials(protocol: str) -> None:
    assert type(pickle.loads(pickle.dumps(find_protocol(protocol)))) is PROTOCOLS[protocol]


@pytest.mark.parametrize(("values", "path", "told"), FAULTS)
def test_a_fault_is_told_with_its_path_and_what_is_allowed(
    values: dict[str, Any], path: str, told: list[str]
) -> None:
    (fault,) = protocol_faults(values)
    assert fault.startswith(f"{path}: ")
    for part in told:
        assert part in fault


@pytest.mark.parametrize(
    "values", [{"search": {"trials": 0}}, {"protocol": "zero_shot"}], ids=["given", "zero-shot"]
)
def test_without_a_search_nothing_is_asked_of_one(values: dict[str, Any]) -> None:
    search = {**values.get("search", {}), "baselines": {"mine": clipfit()}, "selection": "base"}
    values = {**values, "search": search, "training": {"epochs": 2}}
    assert protocol_faults(values) == []
    config = build_config(values, "here")
    assert not find_protocol(config.protocol).searches(config)


TUNED_RATES = {"design": "only_one", "rates": [0.01, 0.1]}


def test_an_ablation_that_tunes_rates_needs_a_rule_that_can_judge_its_protocol() -> None:
    search = {"selection": "class_folds"}
    (fault,) = protocol_faults({"ablation": TUNED_RATES, "search": search})
    assert fault.startswith(
        "search.selection: 'class_folds' cannot score trials of the protocol few_shot"
    )
    one_rate = TUNED_RATES | {"rates": [0.1]}
    assert protocol_faults({"ablation": one_rate, "search": search}) == []


@pytest.mark.parametrize(
    ("rates", "chooses"),
    [
        ([0.1, 0.2], True),
        ([0.1, 0.1], False),
        ({"bias": [0.1], "ln": [0.2]}, False),
        ({"bias": [0.1], "ln": [0.2, 0.3]}, True),
    ],
)
def test_an_ablation_validates_where_a_kind_has_several_rates(rates: Any, chooses: bool) -> None:
    config = build_config({"ablation": {"design": "only_one", "rates": rates}}, "here")
    assert find_protocol(config.protocol).validates(config) == chooses
