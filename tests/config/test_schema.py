"""The schema: what is allowed, and what a fault is told with."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from config_faults import baselines, clipfit, faults
from pydantic import BaseModel

import study
from study.config.loading import build_config
from study.config.schema import RANKS, TUNED, StudyConfig
from study.config.settings import Section, Settings
from study.errors import ConfigError

STUDY = Path(study.__file__ or "").parent


@pytest.mark.parametrize(
    ("values", "path", "told"),
    [
        ({"sead": 1}, "sead", ["unknown key", "did you mean 'seed'?"]),
        ({"data": {"shot": 4}}, "data.shot", ["did you mean 'shots'?"]),
        ({"data": {"zzz": 4}}, "data.zzz", ["allowed are dataset, root, shots"]),
        ({"search": {"asha": {"grace": 4}}}, "search.asha.grace", ["grace_period"]),
        (
            {"search": {"baselines": baselines(mine=clipfit(rate=1))}},
            "search.baselines.mine.rate",
            ["did you mean 'rates'?"],
        ),
        (
            {"search": {"baselines": baselines(subset=clipfit(bias_rl=1))}},
            "search.baselines.subset.bias_rl",
            ["unknown key", "subset, rates, distill_weight"],
        ),
        (
            {"search": {"baselines": {"mine": {"peer": "full", "rank": 4}}}},
            "search.baselines.mine.rank",
            ["unknown key", "peer, optimizer, lr"],
        ),
        (
            {"search": {"baselines": baselines(mine={"peer": "lora", "rnk": 4})}},
            "search.baselines.mine.rnk",
            ["did you mean 'rank'?"],
        ),
        (
            {"search": {"baselines": {"mine": {"peer": "lora", "lr": [0.1, 0.01]}}}},
            "search.baselines.mine.lr",
            ["the lower bound is above the upper one"],
        ),
        (
            {"search": {"baselines": {"mine": {"peer": "prefix"}}}},
            "search.baselines.mine.peer",
            ["allowed are full and lora", "got 'prefix'"],
        ),
        (
            {"search": {"baselines": baselines(mine={
                "subset": "ln", "peer": {"method": "full", "lr": 0.1}
            })}},
            "search.baselines.mine",
            ["a peer trains no subset", "'none'"],
        ),
        ({"search": {"baselines": {"search": {"peer": "full"}}}}, "search.baselines.search", []),
        (
            {"search": {"baselines": baselines(variant=clipfit())}},
            "search.baselines.variant",
            ["is a name that results use"],
        ),
        ({"search": {"space": {"heads": ["text", "text"]}}}, "search.space.heads", ["twice"]),
        ({"data": {"shots": "many"}}, "data.shots", ["'many'", "must be a whole number"]),
        ({"data": {"shots": 0}}, "data.shots", ["0", "at least 1"]),
        ({"data": [1]}, "data", ["[1]"]),
        ({"data": None}, "data", ["None"]),
        ({"protocol": ""}, "protocol", ["''", "at least 1"]),
        (
            {"protocol": "transfer", "data": {"targets": ["dtd", "eurosat", "dtd"]}},
            "data.targets",
            ["'dtd'", "twice"],
        ),
        (
            {"protocol": "transfer", "data": {"targets": ["digits"]}},
            "data.targets",
            ["'digits'", "source"],
        ),
        (
            {"protocol": "zero_shot", "data": {"targets": ["score"]}},
            "data.targets",
            ["'score'", "metric"],
        ),
        *(
            (
                {"protocol": "zero_shot", "data": {"targets": [name]}},
                "data.targets",
                [f"'{name}'", "metric"],
            )
            for name in ("source", "generalized", "ausuc", "calibration", "calibrated")
        ),
        ({"data": {"targets_root": "x"}}, "data.targets_root", ["data.targets is empty"]),
        (
            {"data": {"shots_from": "x", "val_shots": 2}},
            "data.val_shots",
            ["no effect", "shots_from"],
        ),
        ({"data": {"pixel_range": [1, 1]}}, "data.pixel_range", ["first number", "below"]),
        ({"data": {"pixel_range": [9, 1]}}, "data.pixel_range", ["first number", "below"]),
        ({"data": {"pixel_range": [0]}}, "data.pixel_range.1", ["missing", "2 values"]),
        ({"data": {"pixel_range": [0, float("inf")]}}, "data.pixel_range.1", ["inf"]),
        ({"data": {"pixel_range": [0, "white"]}}, "data.pixel_range.1", ["'white'"]),
        ({"data": {"short": "some"}}, "data.short", ["'some'", "'fail' or 'take_all'"]),
        ({"data": {"columns": {"imge": "x"}}}, "data.columns.imge", ["'image'"]),
        ({"data": {"splits": {"exam": "x"}}}, "data.splits.exam", ["'test'"]),
        ({"training": {"regularizer": "l1"}}, "training.regularizer", ["'l1'", "'l2_init'"]),
        ({"search": {"trials": 0, "baselines": {}}}, "search.baselines", ["empty"]),
        ({"backbone": {"name": ""}}, "backbone.name", ["''", "at least 1"]),
        ({"data": {"dataset": ""}}, "data.dataset", ["''", "at least 1"]),
        ({"data": {"root": ""}}, "data.root", ["is empty", "the path of a file or folder"]),
        ({"storage": ""}, "storage", ["is empty"]),
        ({"seed": True}, "seed", ["must be a number", "yes and no"]),
        ({"data": {"val_shots": False}}, "data.val_shots", ["must be a number", "False"]),
        ({"confirm": {"seeds": [True, 2]}}, "confirm.seeds", ["must be a number"]),
        (
            {"search": {"space": {"rates": {"ln": [True, 2]}}}},
            "search.space.rates",
            ["must be a number"],
        ),
        ({"seed": -1}, "seed", ["-1", "at least 0"]),
        ({"seed": 2**40}, "seed", ["must be below 2147483648"]),
        ({"name": "../up"}, "name", ["'../up'"]),
        ({"name": 7}, "name", ["7", "must be text"]),
        ({"training": {"epochs": 2.5}}, "training.epochs", ["2.5"]),
        ({"training": {"momentum": float("nan")}}, "training.momentum", ["nan"]),
        ({"data": {"templates": ["a photo"]}}, "data.templates", ["'a photo'", "{}"]),
        ({"data": {"templates": []}}, "data.templates", ["[]"]),
        ({"search": {"space": {"sites": []}}}, "search.space", ["empty", "at least one"]),
        (
            {"search": {"space": {"sites": ["text.ln9"]}}},
            "search.space.sites.0",
            ["'text.ln9'", "did you mean 'ln'?", "attn.q.bias"],
        ),
        (
            {"search": {"space": {"sites": ["text.ln1[0:2]"]}}},
            "search.space",
            ["text.ln1[0:2]", "without layers"],
        ),
        (
            {"search": {"space": {"sites": ["text.ln1", "text.ln1"]}}},
            "search.space",
            ["twice"],
        ),
        (
            {"search": {"space": {"rates": {"bias": [0.1, 0.01]}}}},
            "search.space.rates.bias",
            ["lower bound", "0.1"],
        ),
        (
            {"search": {"space": {"rates": {"ln": [0, 1]}}}},
            "search.space.rates.ln.0",
            ["must be above 0"],
        ),
        (
            {"search": {"space": {"ln_lr": [0, 1]}}},  # as in earlier files
            "search.space.rates.ln.0",
            ["must be above 0"],
        ),
        (
            {"search": {"space": {"rates": {"weight": [0.1, 1]}}}},
            "search.space.rates.weight",
            ["'weight'", "bias"],
        ),
        (
            {"search": {"baselines": baselines(mine=clipfit(subset="clipfitt"))}},
            "search.baselines.mine.subset",
            ["clipfitt", "did you mean 'clipfit'?"],
        ),
        (
            {"search": {"baselines": baselines(mine={"subset": "clipfit", "ln_lr": 0.1})}},
            "search.baselines.mine",
            ["needs rates.bias"],
        ),
        (
            {"search": {"baselines": baselines(**{"../x": clipfit()})}},
            "search.baselines.../x",
            ["small letters, digits, dots, hyphens and underscores"],
        ),
        ({"search": {"tuned_share": 0.1}}, "search.tuned_share", ["0.1", "0.25"]),
        ({"search": {"asha": {"grace_period": 2}}}, "search.asha.grace_period", ["2", "3"]),
        ({"confirm": {"seeds": [1]}}, "confirm.seeds", ["at least 2"]),
        ({"confirm": {"seeds": [1, 2, 1]}}, "confirm", ["[1, 2, 1]", "twice"]),
        ({"confirm": {"runners_up": 9}}, "confirm.runners_up", ["9"]),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial", ["must be above 0"]),
        (
            {"ablation": {"design": "pairs", "rates": [0.1, 0]}},
            "ablation.rates.1",
            ["must be above 0"],
        ),
        (
            {"ablation": {"design": "pairs", "rates": {"bias": [0.1, -1]}}},
            "ablation.rates.bias.1",
            ["must be above 0", "-1"],
        ),
        (
            {"ablation": {"design": "pairs", "rates": {"norm": [0.1]}}},
            "ablation.rates.norm",
            ["'norm'", "allowed are bias, ln"],
        ),
        ({"ablation": {"design": "pairs", "rates": []}}, "ablation.rates", ["at least 1"]),
        ({"ablation": {"design": "pairs", "rates": {}}}, "ablation.rates", ["at least 1"]),
        ({"ablation": {"design": "pairs", "rates": {"ln": []}}}, "ablation.rates.ln", ["least 1"]),
        ({"ablation": {"design": "pairs", "rates": 0.1}}, "ablation.rates", ["as in [0.1]"]),
        ({"search": {"trials": 10**9}}, "search.trials", ["at most 100000", "1000000000"]),
        ({"search": {"peer_trials": 10**6}}, "search.peer_trials", ["at most 10000"]),
        ({"search": {"folds": 10**6}}, "search.folds", ["at most 1000"]),
        ({"search": {"space": {"rates": {"ln": [1, 1e10]}}}}, "search.space.rates.ln.1", ["1000,"]),
        (
            {"search": {"space": {"distill_weight": [1, 1e10]}}},
            "search.space.distill_weight.1",
            ["at most 10000"],
        ),
        (
            {"search": {"baselines": baselines(mine=clipfit(rates={"bias": 1e10, "ln": 1}))}},
            "search.baselines.mine.rates.bias",
            ["at most 1000"],
        ),
        ({"training": {"epochs": 10**9}}, "training.epochs", ["at most 100000"]),
        ({"training": {"batch_size": 10**9}}, "training.batch_size", ["at most 65536"]),
        ({"training": {"eval_batch_size": 10**9}}, "training.eval_batch_size", ["at most 65536"]),
        ({"training": {"weight_decay": 1e9}}, "training.weight_decay", ["at most 100,"]),
        ({"training": {"warmup_lr": 1e9}}, "training.warmup_lr", ["at most 1000"]),
        ({"data": {"shots": 10**9}}, "data.shots", ["at most 100000"]),
        ({"data": {"val_shots": 10**9}}, "data.val_shots", ["at most 100000"]),
        ({"ablation": {"design": "pairs", "rates": [1e10]}}, "ablation.rates.0", ["at most 1000"]),
        ({"resources": {"cpus_per_trial": 1e9}}, "resources.cpus_per_trial", ["at most 10000"]),
        ({"resources": {"gpus_per_trial": 1e9}}, "resources.gpus_per_trial", ["at most 1000"]),
        ({"resources": {"max_failures": 10**9}}, "resources.max_failures", ["at most 10000"]),
    ],
)  # fmt: skip
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


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        StudyConfig().seed = 3  # type: ignore[misc]


def test_a_subset_is_kept_in_its_canonical_form() -> None:
    values = {
        "search": {"baselines": baselines(mine=clipfit(subset="vision.ln+text.mlp.fc2.bias"))}
    }
    mine = build_config(values, "here").search.baselines["mine"]
    assert mine.subset == Settings(**clipfit()).subset == "text.mlp.fc2.bias + vision.ln"


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
    for given in (
        "embedded",
        str(tmp_path / "models"),
        "no/folder",
        "~nobody-of-this-name/mine",
        "a" * 5000,
    ):
        assert named(given) == given
    assert named("owner/name") == str(tmp_path / "owner/name"), "as transformers has it"
    monkeypatch.chdir(tmp_path / "home")
    assert named("owner/name") == "owner/name"
