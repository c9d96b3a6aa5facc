"""What a study prints before it runs."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from rich.console import Console

from study.commands.announcement import (
    plan_facts,
    study_facts,
)
from study.commands.check_result import Fact, print_facts
from study.config.loading import build_config
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.settings import NONE


def study(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def told(tmp_path: Path, **values: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fact in study_facts(study(tmp_path, **values)):
        found.setdefault(fact.name, []).append(fact.text)
    return found


def test_what_a_study_will_work_on_is_told(tmp_path: Path):
    found = told(tmp_path, data={"shots": 4})
    assert found["classes"] == ["10 of digits: digit zero, digit one, digit two, …"]
    assert found["images"] == [
        "896 in train, 0 in validation, 901 in test",
        "4 of each class are drawn to learn from (data.shots=all takes all), 4 to validate; trials "
        "are compared by cross-validation over the training and validation images",
    ]
    assert found["prompts"] == ["“a photo of the digit zero.”, “a photo of the digit one.”"]
    # 3 · 64 biases of the text encoder, 8 LayerNorms of width 96 in the other.
    assert found["tuned"] == [
        "1,728 of these parameters by CLIPFit as published; trials tune these or others"
    ]
    assert found["backbone"] == [
        "embedded, a model of 563,104 parameters: 3 layers for text, 3 for images of 32 × 32 pixels"
    ]
    (chance,) = found["chance"]
    assert chance.startswith("guessing would score 10.0 % (balanced accuracy on test")


def test_what_a_benchmark_lacks_is_seen_beside_its_published_numbers(
    miniature: ModuleType, tmp_path: Path
):
    for name in ("dtd", "imagenet_a"):
        miniature.make(name, tmp_path / "data", classes=4, counts=(3, 2, 1))
    root = str(tmp_path / "data")
    data = {"dataset": "dtd", "root": root, "targets": ["imagenet_a"], "targets_root": root}
    found = told(tmp_path, protocol="transfer", data={**data, "shots": 2})
    assert found["images"][0] == (
        "12 in train, 8 in validation, 4 in test (as published: 2,820 in train, 1,128 in "
        "validation, 1,692 in test, of 47 classes)"
    )
    (target,) = found["target"]
    assert target.startswith("2 of imagenet_a: goldfish, tiger shark; 2 in test (as published: ")


def test_each_protocol_has_a_chance_of_its_own_and_shifts_have_none(tmp_path: Path):
    glyphs = {"dataset": "glyphs", "shots": 2}
    assert told(tmp_path, protocol="base_to_new", data=glyphs)["chance"] == [
        "guessing would score 5.6 % (balanced hmean on test, in which every class counts alike)"
    ]
    assert told(tmp_path, protocol="generalized", data=glyphs)["chance"] == [
        "guessing would score 2.8 % (H on test)"
    ]
    digits = {"dataset": "digits", "shots": 2, "targets": ["glyphs"]}
    assert "chance" not in told(tmp_path, protocol="transfer", data=digits)


def test_prompts_are_those_that_are_read_and_several_are_counted(tmp_path: Path):
    data = {"shots": 2, "templates": ["a scan of {}", "{}, badly drawn", "{}"]}
    assert told(tmp_path, data=data)["prompts"] == [
        "“a scan of digit zero”, “a scan of digit one”, and 2 more of each class"
    ]


def test_names_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = {"shots": 2, "templates": ["[bold]{}[/bold]"]}
    print_facts([*study_facts(study(tmp_path, data=data))], Console(width=120))
    assert "“[bold]digit zero[/bold]”" in capsys.readouterr().out


CASES = yaml.safe_load(Path(__file__).with_name("amounts.yaml").read_text())


@pytest.mark.parametrize("values, amounts", CASES)
def test_one_thing_is_not_called_many(tmp_path: Path, values: JsonObject, amounts: list[str]):
    text = "\n".join(f"{fact.name} {fact.text}" for fact in plan_facts(study(tmp_path, **values)))
    for part in amounts:
        assert part in text, text


def test_a_study_without_a_search_needs_no_clipfit_among_its_baselines(tmp_path: Path):
    search = {"trials": 0, "baselines": {**NONE, "ln": {"subset": "ln", "rates": {"ln": 0.1}}}}
    (row,) = plan_facts(study(tmp_path, search=search, test={"seeds": [1, 2]}))
    assert row == Fact("test", "2 trials: 1 configuration with 2 seeds each")
