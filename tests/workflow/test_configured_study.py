"""The study that a command names."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.config.loading import ConfigFaults, build_config
from study.config.search_section import SITES_OF
from study.config.shipped import shipped_file
from study.workflow.check import StudyFaults
from study.workflow.configured_study import (
    make_study,
    naming_overrides,
    with_sites_of_backbone,
)
from tests.not_none import not_none
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


def test_faults_of_values_are_told_with_those_of_what_the_other_sections_name(here: Path):
    source = here / "mine.yaml"
    source.write_text("seed: many\n")
    with pytest.raises(ConfigFaults) as caught:
        make_study(source, ["data.dataset=eurosta"])
    places = [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert places[:2] == ["seed", "data"]


@pytest.fixture
def siglip(tmp_path: Path) -> str:
    """An override that names a SigLIP."""
    return f"backbone.name={save_siglip(tmp_path / 'siglip')}"


PHOTOS = not_none(shipped_file("photos"))
"""The shipped configuration that has ProLIP."""


def test_a_shipped_peer_that_the_backbone_has_not_is_left_out_with_a_line(
    siglip: str, tiny_backbone: Path, console: Console, output: io.StringIO
):
    study = make_study(PHOTOS, [f"backbone.name={tiny_backbone}"], console)
    assert "projection" in study.config.search.baselines
    assert output.getvalue() == ""
    study = make_study(PHOTOS, [siglip], console)
    assert "projection" not in study.config.search.baselines
    assert "clipfit" in study.config.search.baselines
    (line,) = output.getvalue().splitlines()
    assert line.startswith("search.baselines.projection of photos.yaml is left out, since ")


def test_a_peer_that_ones_own_configuration_or_override_asks_for_stays_and_is_refused_later(
    siglip: str, tmp_path: Path
):
    own = tmp_path / "photos.yaml"
    shutil.copy(PHOTOS, own)
    for source, overrides in (
        (own, []),
        (PHOTOS, ["search.baselines.projection={peer: projection}"]),
        (PHOTOS, ["search.baselines.projection.peer=projection"]),
    ):
        study = make_study(source, [siglip, *overrides])
        assert "projection" in study.config.search.baselines


def test_a_peer_that_is_left_out_is_no_fault_beside_others(siglip: str):
    with pytest.raises(ConfigFaults) as caught:
        make_study(PHOTOS, [siglip, "seed=many"])
    assert "seed" in str(caught.value)
    assert "projection" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "overrides", "decided"),
    [
        ((9, 4), ["data.shots=all"], ("logit_adjusted", "balanced_accuracy")),
        ((9, 4), ["data.shots=8"], ("none", "accuracy")),
        ((8, 4), ["data.shots=all"], ("none", "accuracy")),
        ((9, 4), ["data.shots=all", "training.balance=weights"], ("weights", "balanced_accuracy")),
        ((9, 4), ["data.shots=all", "search.metric=accuracy"], ("logit_adjusted", "accuracy")),
        ((9, 4), ["data.root=away"], ("auto", "auto")),
    ],
)
def test_the_sizes_of_classes_decide_how_they_are_made_up_for(
    images: tuple[int, int], overrides: list[str], decided: tuple[str, str], here: Path
):
    lines = ["path,class_name,split"]
    for name, count in zip(("cat", "dog"), images, strict=True):
        for split, number in (("train", count), ("test", 2)):
            lines += [f"{split}-{name}-{image}.png,{name},{split}" for image in range(number)]
    (here / "pets.csv").write_text("\n".join(lines))
    source = here / "mine.yaml"
    source.write_text("data: {dataset: pets, root: pets.csv}")
    study = make_study(source, overrides)
    assert (study.config.training.balance, study.config.search.metric) == decided
    assert study.protocol().class_averaged == (decided[1] == "balanced_accuracy")


def test_faults_name_the_override_that_they_come_from():
    told = r"data\.root: no such folder \(override data\.root=away\)"
    with pytest.raises(StudyFaults, match=told), naming_overrides(["data.root=away"]):
        raise StudyFaults(["data.root: no such folder"])


def test_the_default_list_of_sites_is_that_of_the_backbone(tmp_path: Path):
    folder = save_siglip(tmp_path / "siglip")

    def sites(backbone: object, **space: Any) -> tuple[str, ...]:
        values = {"backbone": {"name": str(backbone)}, "search": {"space": space}}
        return with_sites_of_backbone(build_config(values, "mine")).search.space.sites

    assert sites(folder) == SITES_OF["siglip"]
    assert sites(folder, sites=["text.ln1"]) == ("text.ln1",), "a list of one's own stays"
    assert sites("embedded") == SITES_OF["clip"]
    assert sites(tmp_path / "nowhere") == SITES_OF["clip"], "the check tells of that fault"
