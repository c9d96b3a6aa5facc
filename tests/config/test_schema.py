"""The schema: what is allowed, and what a fault is told with."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import study
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.section import Section
from tests.config_faults import FAULTS, check_fault

STUDY = Path(study.__file__ or "").parent


@pytest.mark.parametrize(("values", "path", "told"), FAULTS["schema"])
def test_a_fault_is_told_with_its_path_and_what_is_allowed(
    values: dict[str, Any], path: str, told: list[str]
) -> None:
    check_fault(values, path, told)


def sections(section: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    """Every field of a section and of the sections inside it."""
    for name, field in section.model_fields.items():
        yield section, name
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from sections(kind)


def test_every_field_is_read_outside_the_schema() -> None:
    """A field that no code reads is a promise that is not kept."""
    read = {
        node.attr
        for path in STUDY.rglob("*.py")
        if path.parent != STUDY / "config"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    unread = [f"{s.__name__}.{name}" for s, name in sections(StudyConfig) if name not in read]
    assert not unread


def test_a_folder_of_weights_is_the_same_from_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("models/mine", "embedded", "home/mine", "owner/name"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def named(name: str) -> str:
        return build_config({"backbone": {"name": name}}, "the file").backbone.name

    for given, meant in (("mine", "models/mine"), (".", "models"), ("~/mine", "home/mine")):
        assert named(given) == str(tmp_path / meant)
    monkeypatch.chdir(tmp_path)
    nowhere = ("no/folder", "~nobody-of-this-name/mine", "a" * 5000)
    for given in ("embedded", str(tmp_path / "models"), *nowhere):
        assert named(given) == given
    assert named("owner/name") == str(tmp_path / "owner/name"), "as transformers has it"
    monkeypatch.chdir(tmp_path / "home")
    assert named("owner/name") == "owner/name"
