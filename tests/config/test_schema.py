"""The schema: what is allowed, and what a fault is told with."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_faults import baselines, clipfit, faults
from pydantic import BaseModel

import study
from study.config.loading import build_config
from study.config.schema import RANKS, TUNED, StudyConfig
from study.config.trial_settings import Section, TrialSettings
from study.errors import ConfigError

STUDY = Path(study.__file__ or "").parent
FAULTS = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text())["faults"]


@pytest.mark.parametrize(("values", "path", "told"), FAULTS)
def test_a_fault_is_told_with_its_path_and_what_is_allowed(
    values: dict[str, Any], path: str, told: list[str]
) -> None:
    (fault,) = faults(values)
    assert fault.startswith(f"{path}: ")
    for part in told:
        assert part in fault


@pytest.mark.parametrize("label", [TUNED, *RANKS])
def test_a_baseline_cannot_take_the_label_of_a_candidate(label: str) -> None:
    (fault,) = faults({"search": {"baselines": baselines(**{label: clipfit()})}})
    assert fault.startswith(f"search.baselines.{label}: ")


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:s3cret@host:5000",
        "postgresql://me:s3cret@host/db",
        "https://s3cret@host",
        "http://me:a/s3cret@host",
        "postgresql://host/db?user=me&password=s3cret",
    ],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking: .*MLFLOW_TRACKING_PASSWORD") as caught:
        build_config({"tracking": {"uri": uri}, "sed": 1}, "the file")
    assert "s3cret" not in str(caught.value)


def test_a_subset_is_kept_in_its_canonical_form() -> None:
    values = {
        "search": {"baselines": baselines(mine=clipfit(subset="vision.ln+text.mlp.fc2.bias"))}
    }
    mine = build_config(values, "here").search.baselines["mine"]
    assert mine.subset == TrialSettings(**clipfit()).subset == "text.mlp.fc2.bias + vision.ln"


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
        if path != STUDY / "config" / "schema.py"
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
