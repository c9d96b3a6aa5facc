"""The cells of an ablation, by design."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from study.backbones.architecture import Architecture, Depths, EncoderShape
from study.config.loading import build_config
from study.errors import StudyError
from study.method.subsets import Subset
from study.search.ablation_cells import BASE, ablation_cells, base_of
from study.storage.study_folder import StudyFolder
from tests.settings import study_of

DEPTHS = Depths(2, 3)
ARCHITECTURE = Architecture(EncoderShape(2, 8, 16), EncoderShape(3, 8, 16), image_size=16, dim=8)


def cells(tmp_path: Path, **ablation: object) -> dict[str, Subset]:
    config = build_config({"ablation": ablation}, "test")
    return ablation_cells(study_of(config, StudyFolder(tmp_path / "runs" / "own"), ARCHITECTURE))


def texts(found: dict[str, Subset]) -> dict[str, str]:
    return {label: str(subset) for label, subset in found.items()}


def test_only_one_trains_each_site_alone_beside_the_base(tmp_path: Path) -> None:
    found = cells(tmp_path, design="only_one", sites=["vision.ln1", "text.bias"])
    assert texts(found) == {
        "base": "text.mlp.fc2.bias + vision.ln",
        "only vision.ln1": "vision.ln1",
        "only text.bias": "text.bias",
    }


def test_leave_one_out_takes_each_site_of_the_base_away(tmp_path: Path) -> None:
    found = cells(tmp_path, design="leave_one_out")
    base = found.pop("base").resolve(DEPTHS)
    assert list(found) == [
        "without text.mlp.fc2.bias",
        "without vision.ln1",
        "without vision.ln2",
        "without vision.ln_pre",
        "without vision.ln_post",
    ]
    removed = [base - subset.resolve(DEPTHS) for subset in found.values()]
    assert frozenset().union(*removed) == base
    assert sum(map(len, removed)) == len(base)


def test_a_site_that_the_base_lacks_cannot_be_left_out_of_it(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"text\.ln1.*vision\.ln_post"):
        cells(tmp_path, design="leave_one_out", sites=["text.ln1"])


def test_sliding_windows_partition_what_lies_in_the_blocks(tmp_path: Path) -> None:
    found = cells(tmp_path, design="layers", width=1)
    base = found.pop("base").resolve(DEPTHS)
    inside = {leaf for leaf in base if leaf.layer is not None}
    parts = [subset.resolve(DEPTHS) for subset in found.values()]
    assert frozenset().union(*parts) == inside
    assert sum(map(len, parts)) == len(inside)


def test_windows_from_an_end_grow_from_it(tmp_path: Path) -> None:
    for windows in ("from_bottom", "from_top"):
        found = cells(tmp_path, design="layers", windows=windows)
        parts = [s.resolve(DEPTHS) for label, s in found.items() if label != "base"]
        assert all(small < large for small, large in pairwise(parts))


def test_a_grid_is_what_is_given_and_an_equal_subset_counts_once(tmp_path: Path) -> None:
    subsets = {"twin": "clipfit", "norms": "ln", "again": "text.ln + vision.ln"}
    assert list(cells(tmp_path, design="grid", subsets=subsets)) == ["base", "norms"]


def test_a_design_without_a_cell_beside_the_base_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no cell beside the base"):
        cells(tmp_path, design="grid", subsets={"twin": "clipfit"})


def test_the_winner_of_a_study_can_be_the_base(tmp_path: Path) -> None:
    other = StudyFolder(tmp_path / "runs" / "other")
    other.path.mkdir(parents=True)
    other.write_json("candidates.json", [{"label": "best", "settings": {"subset": "vision.ln2"}}])
    found = cells(tmp_path, design="only_one", sites=["text.ln1"], base_from="other")
    assert str(found["base"]) == "vision.ln2"
    with pytest.raises(StudyError, match="no finished study 'missing'"):
        cells(tmp_path, design="only_one", sites=["text.ln1"], base_from="missing")


def test_the_base_stays_what_it_was_when_the_study_was_created(tmp_path: Path) -> None:
    other, own = (StudyFolder(tmp_path / "runs" / name) for name in ("other", "own"))
    other.path.mkdir(parents=True)
    other.write_json("candidates.json", [{"label": "best", "settings": {"subset": "vision.ln2"}}])
    wanted = {"design": "only_one", "sites": ["text.ln1"], "base_from": "other"}
    config = build_config({"ablation": wanted}, "test")
    study = study_of(config, own, ARCHITECTURE)
    assert config.ablation is not None
    own.create("", {BASE: base_of(study, config.ablation)})
    before = cells(tmp_path, **wanted)
    other.write_json("candidates.json", [{"label": "best", "settings": {"subset": "vision.ln1"}}])
    assert cells(tmp_path, **wanted) == before
    shutil.rmtree(other.path)
    assert cells(tmp_path, **wanted) == before


def test_pairs_are_each_site_alone_each_two_together_and_nothing_at_all(tmp_path: Path) -> None:
    sites = ["vision.ln2", "text.ln1", "text.bias"]
    assert texts(cells(tmp_path, design="pairs", sites=sites)) == {
        "base": "text.mlp.fc2.bias + vision.ln",
        "zero-shot": "none",
        "only vision.ln2": "vision.ln2",
        "only text.ln1": "text.ln1",
        "only text.bias": "text.bias",
        "vision.ln2 + text.ln1": "text.ln1 + vision.ln2",
        "vision.ln2 + text.bias": "text.bias + vision.ln2",
        "text.ln1 + text.bias": "text.ln1 + text.bias",
    }


def test_a_base_that_is_itself_a_pair_or_nothing_is_written_as_one(tmp_path: Path) -> None:
    sites = ["text.ln", "vision.ln2"]
    base = "text.ln1 + text.ln2 + text.ln_final + vision.ln2"
    found = texts(cells(tmp_path, design="pairs", sites=sites, base=base))
    assert found["base"] == "text.ln + vision.ln2"
    assert len(found) == 4
    assert "zero-shot" not in cells(tmp_path, design="pairs", sites=sites, base="none")


@pytest.mark.parametrize(
    ("sites", "told"),
    [
        (["text.ln1"], "two sites or more, got text.ln1"),
        (["text.ln1", "text.ln1"], "'text.ln1' and 'text.ln1' cannot be paired"),
        (["vision.ln2", "text.ln1", "text.ln"], "'text.ln1' and 'text.ln' cannot be paired"),
        (["vision.ln1", "vision.ln - vision.ln1"], "cannot be paired"),
        (["none", "text.ln"], "one of them has none"),
    ],
)
def test_sites_whose_sum_means_nothing_are_not_paired(
    tmp_path: Path, sites: list[str], told: str
) -> None:
    with pytest.raises(StudyError, match=told):
        cells(tmp_path, design="pairs", sites=sites)


def test_other_designs_have_no_cell_that_tunes_nothing(tmp_path: Path) -> None:
    assert list(cells(tmp_path, design="only_one", sites=["none", "text.ln"])) == [
        "base",
        "only text.ln",
    ]


def test_a_kind_that_a_cell_tunes_needs_rates(tmp_path: Path) -> None:
    sites, rates = ["vision.ln2", "text.bias"], {"ln": [0.1, 0.2]}
    with pytest.raises(StudyError, match=r"'base' tunes 'text.mlp.fc2.bias .* needs rates\.bias"):
        cells(tmp_path, design="only_one", sites=sites, rates=rates)
    with pytest.raises(StudyError, match=r"'only text.bias' tunes .* needs rates\.bias"):
        cells(tmp_path, design="only_one", sites=sites, rates=rates, base="ln")
    assert cells(tmp_path, design="only_one", sites=sites[:1], rates=rates, base="ln")
