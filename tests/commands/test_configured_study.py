"""The study that a command names."""

import re
from pathlib import Path

import pytest

from study.commands.configured_study import make_study
from study.config.loading import ConfigFaults
from tests.case_tables import from_table
from tests.commands.conftest import PHOTOS


def test_a_study_without_a_name_is_called_by_its_file_and_no_two_the_same(here: Path):
    source = here / "my study (copy).yaml"
    source.write_text("")
    names = [make_study(source, []).folder.name for _ in range(2)]
    assert len({*names}) == 2
    for name in names:
        assert re.fullmatch(r"my-study-copy-\d{8}-\d{6}-[0-9a-f]{4}", name)
    named = make_study(source, ["name=mine", "storage=elsewhere"])
    assert named.folder.path == Path("elsewhere/mine")


def test_a_peer_that_is_left_out_is_no_fault_beside_others(siglip: str):
    with pytest.raises(ConfigFaults) as caught:
        make_study(PHOTOS, [siglip, "seed=many"])
    assert "seed" in str(caught.value)
    assert "projection" not in str(caught.value)


@from_table
def test_the_sizes_of_classes_decide_the_metric(
    images: tuple[int, int], overrides: list[str], metric: str, here: Path
):
    lines = ["path,class_name,split"]
    for name, count in zip(("cat", "dog"), images, strict=True):
        for split, number in (("train", count), ("test", 2)):
            lines += [f"{split}-{name}-{image}.png,{name},{split}" for image in range(number)]
    (here / "pets.csv").write_text("\n".join(lines))
    source = here / "mine.yaml"
    source.write_text("data: {dataset: pets, root: pets.csv}")
    study = make_study(source, overrides)
    assert study.config.search.metric == metric
    assert study.protocol.class_averaged == (metric == "balanced_accuracy")
