"""The schema: every fault at once, each with its path, what was got and what is allowed."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import study
from study.config.loading import ConfigFaults, build_config, dump_config, load_config
from study.config.schema import RANKS, TUNED, BaselineConfig, Section, StudyConfig
from study.errors import ConfigError

STUDY = Path(study.__file__ or "").parent


def faults(values: dict[str, Any]) -> list[str]:
    """The lines that tell what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        build_config(values, "the file")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"the file has {len(lines)} fault")
    return [line.strip() for line in lines]


def baselines(**more: Any) -> dict[str, Any]:
    """The baselines that must be there, and more."""
    return {"zero-shot": {"subset": "none"}, "clipfit": clipfit(), **more}


def clipfit(**changes: Any) -> dict[str, Any]:
    """A sound baseline."""
    return {"subset": "clipfit", "bias_lr": 0.01, "ln_lr": 0.01, "distill_weight": 8, **changes}


@pytest.mark.parametrize(
    ("values", "path", "told"),
    [
        ({"sead": 1}, "sead", ["unknown key", "did you mean 'seed'?"]),
        ({"data": {"shot": 4}}, "data.shot", ["did you mean 'shots'?"]),
        ({"data": {"zzz": 4}}, "data.zzz", ["allowed are dataset, root, shots"]),
        ({"search": {"asha": {"grace": 4}}}, "search.asha.grace", ["grace_period"]),
        (
            {"search": {"baselines": baselines(mine=clipfit(bias_rl=1))}},
            "search.baselines.mine.bias_rl",
            ["did you mean 'bias_lr'?"],
        ),
        (
            {"search": {"baselines": baselines(subset=clipfit(bias_rl=1))}},
            "search.baselines.subset.bias_rl",
            ["did you mean 'bias_lr'?"],
        ),
        ({"data": {"shots": "many"}}, "data.shots", ["'many'", "integer"]),
        ({"data": {"shots": 0}}, "data.shots", ["0", "greater than or equal to 1"]),
        ({"data": [1]}, "data", ["[1]"]),
        ({"data": None}, "data", ["None"]),
        ({"protocol": "one_shot"}, "protocol", ["'one_shot'", "'few_shot', 'base_to_new'"]),
        ({"protocol": "transfer"}, "data.targets", ["empty", "transfer"]),
        ({"data": {"targets": ["dtd"]}}, "data.targets", ["few_shot", "transfer and zero_shot"]),
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
            ["'score'", "metrics"],
        ),
        ({"data": {"targets_root": "x"}}, "data.targets_root", ["data.targets is empty"]),
        (
            {"data": {"shots_from": "x", "val_shots": 2}},
            "data.val_shots",
            ["no effect", "shots_from"],
        ),
        ({"data": {"pixel_range": [1, 1]}}, "data.pixel_range", ["first number", "below"]),
        ({"data": {"pixel_range": [9, 1]}}, "data.pixel_range", ["first number", "below"]),
        ({"data": {"pixel_range": [0]}}, "data.pixel_range.1", ["required"]),
        ({"data": {"pixel_range": [0, float("inf")]}}, "data.pixel_range.1", ["inf"]),
        ({"data": {"pixel_range": [0, "white"]}}, "data.pixel_range.1", ["'white'"]),
        ({"data": {"short": "some"}}, "data.short", ["'some'", "'fail' or 'take_all'"]),
        ({"data": {"columns": {"imge": "x"}}}, "data.columns.imge", ["'image'"]),
        ({"data": {"splits": {"exam": "x"}}}, "data.splits.exam", ["'test'"]),
        ({"training": {"regularizer": "l1"}}, "training.regularizer", ["'l1'", "'l2_init'"]),
        ({"search": {"trials": 3}}, "search.trials", ["3", "8 or more, or 0"]),
        ({"search": {"trials": 0, "baselines": {}}}, "search.baselines", ["empty"]),
        (
            {"protocol": "transfer", "data": {"targets": ["dtd"]}, "search": {"selection": "base"}},
            "search.selection",
            ["'base'", "transfer", "auto, holdout, folds"],
        ),
        ({"backbone": {"name": ""}}, "backbone.name", ["''", "at least 1"]),
        ({"seed": -1}, "seed", ["-1", "greater than or equal to 0"]),
        ({"seed": 2**40}, "seed", ["less than"]),
        ({"name": "../up"}, "name", ["'../up'"]),
        ({"name": 7}, "name", ["7", "string"]),
        ({"training": {"epochs": 2.5}}, "training.epochs", ["2.5"]),
        ({"training": {"momentum": float("nan")}}, "training.momentum", ["nan"]),
        ({"data": {"templates": ["a photo"]}}, "data", ["'a photo'", "{}"]),
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
            {"search": {"space": {"bias_lr": [0.1, 0.01]}}},
            "search.space.bias_lr",
            ["lower bound", "0.1"],
        ),
        ({"search": {"space": {"ln_lr": [0, 1]}}}, "search.space.ln_lr.0", ["greater than 0"]),
        (
            {"search": {"baselines": baselines(mine=clipfit(subset="clipfitt"))}},
            "search.baselines.mine.subset",
            ["clipfitt", "did you mean 'clipfit'?"],
        ),
        (
            {"search": {"baselines": baselines(mine={"subset": "clipfit", "ln_lr": 0.1})}},
            "search.baselines.mine",
            ["needs bias_lr"],
        ),
        ({"search": {"baselines": {"clipfit": clipfit()}}}, "search.baselines", ["'zero-shot'"]),
        (
            {"search": {"baselines": baselines(**{"../x": clipfit()})}},
            "search.baselines.../x",
            ["pattern"],
        ),
        ({"search": {"trials": 9, "baselines": baselines(**{
            label: clipfit() for label in ("a", "b", "c")
        })}}, "search.trials", ["9", "10 or more"]),
        ({"search": {"trials": 8, "tuned_share": 0.9}}, "search.tuned_share", ["0.9", "none"]),
        ({"search": {"tuned_share": 0.1}}, "search.tuned_share", ["0.1", "0.25"]),
        ({"search": {"asha": {"grace_period": 2}}}, "search.asha.grace_period", ["2", "3"]),
        (
            {"search": {"asha": {"grace_period": 30}}, "training": {"epochs": 20}},
            "search.asha.grace_period",
            ["30", "20"],
        ),
        (
            {"search": {"selection": "class_folds"}},
            "search.selection",
            ["'class_folds'", "few_shot", "auto, holdout, folds"],
        ),
        (
            {"protocol": "base_to_new", "search": {"selection": "holdout"}},
            "search.selection",
            ["auto, class_folds, base"],
        ),
        ({"confirm": {"seeds": [1]}}, "confirm.seeds", ["at least 2"]),
        ({"confirm": {"seeds": [1, 2, 1]}}, "confirm", ["[1, 2, 1]", "twice"]),
        ({"confirm": {"runners_up": 9}}, "confirm.runners_up", ["9"]),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial", ["greater than 0"]),
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


def test_faults_are_reported_all_together() -> None:
    told = faults(
        {
            "sed": 1,
            "data": {"shots": 0, "dataste": "digits"},
            "training": {"epochs": "many"},
            "search": {"space": {"sites": ["text.ln9", "vision.foo"]}},
        }
    )
    paths = [line.partition(":")[0] for line in told]
    assert sorted(paths) == [
        *("data.dataste", "data.shots", "search.space.sites.0", "search.space.sites.1"),
        *("sed", "training.epochs"),
    ]


def test_parts_that_disagree_are_reported_all_together() -> None:
    told = faults(
        {
            "training": {"epochs": 2},
            "search": {
                "selection": "base",
                "trials": 8,
                "baselines": {"clipfit": {"subset": "clipfit"}, "best": clipfit()},
            },
        }
    )
    assert len(told) == 6


def test_disagreements_are_told_beside_a_fault_elsewhere() -> None:
    told = faults({"sed": 1, "training": {"epochs": 2}})
    assert [line.partition(":")[0] for line in told] == ["sed", "search.asha.grace_period"]


def test_a_default_that_stands_in_for_a_fault_is_not_blamed() -> None:
    told = faults({"training": {"epochs": "many"}, "search": {"asha": {"grace_period": 150}}})
    assert [line.partition(":")[0] for line in told] == ["training.epochs"]


def test_what_is_sound_can_be_read_in_spite_of_faults() -> None:
    values = {"sed": 1, "data": {"shots": "many", "dataset": "glyphs"}, "training": 3}
    values |= {"search": {"baselines": {"clipfit": {"subset": 3}}}}
    with pytest.raises(ConfigFaults) as caught:
        build_config(values, "the file")
    assert caught.value.rest == build_config({"data": {"dataset": "glyphs"}}, "the same")


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


def test_an_override_reaches_a_field_and_creates_its_section(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {shots: 4}\n")
    overrides = [
        *("data.shots=8", "search.asha=null", "search.space.bias_lr=[1e-3, 1e-1]", "name=mine"),
        *("training.weight_decay=1e-4", "search.baselines.extra={subset: ln, ln_lr: 0.1}"),
    ]
    with pytest.raises(ConfigError, match="zero-shot"):  # a mapping replaces the default one
        load_config(file, overrides)
    config = load_config(file, overrides[:-1])
    assert config.data.shots == 8
    assert config.search.asha is None
    assert config.search.space.bias_lr == (1e-3, 1e-1)
    assert config.training.weight_decay == 1e-4
    assert config.name == "mine"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "section.field=value"),
        ("=3", "section.field=value"),
        ("seed=[", "not valid YAML"),
        ("seed.deeper=3", "not a section"),
        ("search.trails=3", "did you mean 'trials'?"),
    ],
)
def test_an_override_at_fault_is_named(tmp_path: Path, override: str, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r".") as caught:
        load_config(file, [override])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("seed=1", "seed=2"),
        ("seed=1", "seed=1"),
        ("data={shots: 4}", "data.shots=2"),
        ("search.space.sites=[text.ln1]", "search={trials: 20}"),
    ],
)
def test_two_overrides_of_one_value_are_refused(tmp_path: Path, first: str, second: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    with pytest.raises(ConfigError, match="same value twice") as caught:
        load_config(file, [first, "confirm.runners_up=1", second])
    assert f"'{first}' and '{second}'" in str(caught.value)
    assert "runners_up" not in str(caught.value)


def test_overrides_of_neighbours_go_together(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("")
    config = load_config(file, ["data.shots=4", "data.shots_from=published", "seed=2"])
    assert (config.data.shots, str(config.data.shots_from)) == (4, "published")


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (b"- 1\n- 2\n", "mapping"),
        (b"seed: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"seed: 1\nseed: 2\n", "seed"),
        (b"data: {shots: 1, shots: 2}\n", "shots"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, contents: bytes, told: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(contents)
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        load_config(file)
    assert told in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_an_empty_file_is_the_default_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("")
    assert load_config(tmp_path / "mine.yaml") == StudyConfig()


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        StudyConfig().seed = 3  # type: ignore[misc]


def test_a_subset_is_kept_in_its_canonical_form() -> None:
    values = {
        "search": {"baselines": baselines(mine=clipfit(subset="vision.ln+text.mlp.fc2.bias"))}
    }
    mine = build_config(values, "here").search.baselines["mine"]
    assert mine.subset == BaselineConfig(**clipfit()).subset == "text.mlp.fc2.bias + vision.ln"


@pytest.mark.parametrize(
    "values", [{"search": {"trials": 0}}, {"protocol": "zero_shot"}], ids=["given", "zero-shot"]
)
def test_without_a_search_nothing_is_asked_of_one(values: dict[str, Any]) -> None:
    search = {**values.get("search", {}), "baselines": {"mine": clipfit()}, "selection": "base"}
    values = {**values, "search": search, "training": {"epochs": 2}}
    config = build_config(values, "here")
    assert not config.searches


def test_zero_shot_tests_one_configuration_once() -> None:
    config = build_config({"protocol": "zero_shot", "seed": 7}, "here")
    assert list(config.tested_as_given) == ["zero-shot"]
    assert config.tested_as_given["zero-shot"].subset == "none"
    assert config.shot_seeds == (7,)


def test_what_is_dumped_is_what_is_loaded(tmp_path: Path) -> None:
    values = {
        "name": "mine",
        "data": {
            "root": "/some/where",
            "templates": ["ein {} ü."],
            "columns": {"image": "img"},
            "shots_from": "/some/shots",
        },
        "search": {"asha": None, "baselines": baselines(mine=clipfit())},
        "ablation": {"design": "only_one"},
        "storage": "elsewhere",
    }
    config = build_config(values, "here")
    (tmp_path / "study.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "study.yaml") == config


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
        if path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    unread = [f"{s.__name__}.{name}" for s, name in sections(StudyConfig) if name not in read]
    assert not unread


TUNED_RATES = {"design": "only_one", "rates": [0.01, 0.1]}


def test_an_ablation_of_a_protocol_without_training_is_a_fault() -> None:
    (fault,) = faults({"protocol": "zero_shot", "ablation": TUNED_RATES})
    assert fault == "ablation: cannot be of zero_shot; allowed are few_shot, base_to_new"


def test_an_ablation_that_tunes_rates_needs_a_rule_that_can_judge_its_protocol() -> None:
    search = {"selection": "class_folds"}
    (fault,) = faults({"ablation": TUNED_RATES, "search": search})
    assert fault.startswith("search.selection: 'class_folds' cannot judge the protocol few_shot")
    assert build_config({"ablation": TUNED_RATES | {"rates": [0.1]}, "search": search}, "test")


def test_what_is_merged_gives_way_to_what_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "search:\n"
        "  baselines:\n"
        "    zero-shot: {subset: none}\n"
        "    clipfit: &rates {subset: clipfit, bias_lr: 0.1, ln_lr: 0.2}\n"
        "    ln: {<<: *rates, subset: ln, ln_lr: 0.3}\n"
    )
    baseline = load_config(tmp_path / "mine.yaml").search.baselines["ln"]
    assert (baseline.subset, baseline.bias_lr, baseline.ln_lr) == ("text.ln + vision.ln", 0.1, 0.3)


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
