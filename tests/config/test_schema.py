"""The schema: what is allowed, and what a fault is reported with."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

import study
from study.config import value_types
from study.config.loading import build_config
from study.config.reference import list_keys
from study.config.section import Section
from study.config.trial_settings import SubsetText
from study.config.value_types import LONGEST_NAME, LONGEST_PATH
from study.data.datasets import READER_OPTIONS

STUDY = Path(study.__file__ or "").parent


def test_every_field_is_read_outside_the_schema():
    """A field that no code reads is a promise that is not kept."""
    read = {
        node.attr
        for path in STUDY.rglob("*.py")
        if path.parent != STUDY / "config"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    # Those of another method are read where its model is built, by patterns of its class, and the
    # options of a dataset's reader by their names.
    elsewhere = {"lr", "rank", "alpha", "dropout", "distance_weight", *READER_OPTIONS}
    assert {key.name.rpartition(".")[2] for key in list_keys()} - elsewhere <= read


@pytest.mark.parametrize(
    "working, given, meant",
    [
        ("models", "mine", "{}/models/mine"),
        ("models", "~/mine", "{}/home/mine"),
        *(("", name, name) for name in ("embedded", "no/folder", "a" * 5000)),
        ("", "owner/name", "{}/owner/name"),  # as transformers has it
        ("home", "owner/name", "owner/name"),
    ],
)
def test_a_folder_of_weights_is_the_same_from_any_working_folder(
    working: str, given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("models/mine", "embedded", "home/mine", "owner/name"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / working)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    name = build_config({"backbone": {"name": given}}, "the file").backbone.name
    assert name == meant.format(tmp_path)


class Place(Section):
    path: value_types.Place = Path()
    subset: SubsetText = "none"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"path": "a" * (LONGEST_NAME + 1)}, "255"),
        ({"path": "a/" * LONGEST_PATH}, "4000"),
        ({"path": "a\0"}, "NUL"),
        ({"path": ""}, "empty"),
        ({"subset": "clipfitt"}, "'clipfit'"),
        ({"other": 1}, "Extra"),
    ],
)
def test_what_no_machine_takes_is_a_fault(values: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        Place.model_validate(values)
