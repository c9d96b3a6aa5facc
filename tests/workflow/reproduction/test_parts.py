"""The steps of a reproduction: in which order, with which settings, by which commands."""

from argparse import Namespace
from pathlib import Path

import pytest

from study.errors import ConfigError
from study.workflow.reproduction.parts import PARTS, Step, list_steps


def steps(*settings: str, quick: bool = False, only: tuple[str, ...] = ()) -> list[Step]:
    options = Namespace(quick=quick, data=Path("images"), only=only, arguments=list(settings))
    return list_steps(options, Path("/work"))


def test_all_configurations_of_the_paper_are_run_the_smallest_datasets_first():
    all_steps = steps()
    assert list(dict.fromkeys(step.name.partition("-")[0] for step in all_steps)) == list(PARTS)
    shipped = [path.stem for path in Path("configs/paper").glob("*.yaml")]
    assert {f"paper/{name}" for name in shipped} | {"", "gpu"} == set(PARTS.values())
    assert all_steps[10].name == "base_to_new-imagenet"
    assert len({step.name for step in all_steps}) == 155
    first = all_steps[0]
    assert first.command == "clipfit-study run paper/base_to_new data.dataset=dtd data.root=DATA"
    assert first.member
    assert first.member.config.data.root == Path("images").absolute()


def test_settings_hold_for_all_parts_and_replace_those_of_the_command():
    for step in steps("data.dataset=dtd", "training.epochs=3", only=("search", "few_shot")):
        assert step.member
        config = step.member.config
        assert (config.data.dataset, config.training.epochs) == ("dtd", 3)
    (search,) = steps("training.epochs=9", quick=True, only=("search",))
    assert search.member
    assert (search.member.config.training.epochs, search.member.config.data.dataset) == (
        9,
        "eurosat",
    )
    assert search.member.config.backbone.name == "embedded"


@pytest.mark.parametrize("setting", ["name=mine", "storage=x", "data.root=x"])
def test_where_studies_are_is_not_a_setting(setting: str):
    with pytest.raises(ConfigError, match=f"'{setting}'"):
        steps(setting)


def test_an_unknown_part_is_refused():
    with pytest.raises(ConfigError, match="--only ablation_biases is no part; allowed are base_to"):
        steps(quick=True, only=("ablation_biases",))
