"""What a study has that its file has not, and what ``config`` prints of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.new_study import make_study, with_sites_of_backbone
from study.config.loading import build_config, load_config
from study.config.search_section import SITES_OF
from study.config.sweep import json_schema
from tests.commands.conftest import Run
from tests.config.test_loading import CONFIGS
from tests.siglips import save_siglip


def test_a_study_without_a_name_is_called_by_its_file_and_no_two_the_same(here: Path):
    source = here / "my study (copy).yaml"
    source.write_text("")
    names = [make_study(source, []).folder.name for _ in range(2)]
    assert len({*names}) == 2
    for name in names:
        assert re.fullmatch(r"my-study-copy-\d{8}-\d{6}-[0-9a-f]{4}", name)
    named = make_study(source, ["name=mine", "storage=elsewhere"])
    assert named.folder.path == Path("elsewhere/mine")


@pytest.mark.parametrize(
    "images, override, metric",
    [
        ((9, 4), "data.shots=all", "balanced_accuracy"),
        ((9, 4), "data.shots=8", "accuracy"),
        ((8, 4), "data.shots=all", "accuracy"),
        ((9, 4), "search.metric=accuracy", "accuracy"),
        ((9, 4), "data.root=away", "auto"),
    ],
)
def test_the_sizes_of_classes_decide_the_metric(
    images: tuple[int, int], override: str, metric: str, here: Path
):
    lines = ["path,class_name,split"]
    for name, count in zip(("cat", "dog"), images, strict=True):
        for split, number in (("train", count), ("test", 2)):
            lines += [f"{split}-{name}-{image}.png,{name},{split}" for image in range(number)]
    (here / "pets.csv").write_text("\n".join(lines))
    source = here / "mine.yaml"
    source.write_text("data: {dataset: pets, root: pets.csv}")
    study = make_study(source, [override])
    assert study.config.search.metric == metric
    assert study.protocol.class_averaged == (metric == "balanced_accuracy")


def test_the_default_list_of_sites_is_that_of_the_backbone(tmp_path: Path):
    folder = save_siglip(tmp_path / "siglip")

    def sites(backbone: object, **space: Any) -> tuple[str, ...]:
        values = {"backbone": {"name": str(backbone)}, "search": {"space": space}}
        return with_sites_of_backbone(build_config(values, "mine")).search.space.sites

    assert sites(folder) == SITES_OF["siglip"]
    assert sites(folder, sites=["text.ln1"]) == ("text.ln1",), "a list of one's own stays"
    assert sites("embedded") == SITES_OF["clip"]
    assert sites(tmp_path / "nowhere") == SITES_OF["clip"], "the check finds that fault"


def test_what_is_printed_is_the_same_when_it_is_read(here: Path, run: Run):
    saved, words = here / "saved.yaml", ["search.trials=50", "data.groups='a # b'"]
    saved.write_text(run("config", "base_to_new", *words).out)
    expected = load_config(CONFIGS / "base_to_new.yaml", words)
    assert load_config(saved) == with_sites_of_backbone(expected)


def test_one_study_of_a_sweep_is_printed_and_several_are_not(run: Run, refused: Callable[..., str]):
    assert "describes 55 studies; expected one" in refused("config", "paper/few_shot")
    words = ("data.dataset=dtd", "data.shots=4")
    printed = yaml.safe_load(run("config", "paper/few_shot", *words).out)
    assert printed["name"] == "paper-few_shot-dtd-4"
    assert printed["search"]["baselines"]["clipfit"]["distill_weight"] == 8.0


def test_the_schema_is_printed_alone(run: Run, refused: Callable[..., str]):
    assert json.loads(run("config", "--schema").out) == json_schema()
    assert "--schema covers all configurations" in refused("config", "photos", "--schema")
