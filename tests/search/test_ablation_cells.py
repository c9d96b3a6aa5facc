"""The cells of an ablation, by design."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config
from study.errors import StudyError
from study.method.subsets import Subset
from study.search.ablation_cells import ablation_cells, ablation_trials
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from tests.case_tables import from_table
from tests.settings import study_of

MakeCells = Callable[..., dict[str, Subset]]


@pytest.fixture
def cells(tmp_path: Path) -> MakeCells:
    """Make the cells of a design."""

    def make(design: str, **ablation: object) -> dict[str, Subset]:
        config = build_config({"ablation": {"design": design, **ablation}}, "test")
        return ablation_cells(study_of(config, StudyFolder(tmp_path / "own")))

    return make


def texts(cells: dict[str, Subset]) -> dict[str, str]:
    return {label: str(subset) for label, subset in cells.items()}


def test_only_one_trains_each_site_alone_beside_the_base_and_none_that_tunes_nothing(
    cells: MakeCells,
):
    assert texts(cells("only_one", sites=["vision.ln1", "none", "text.bias"])) == {
        "base": "text.mlp.fc2.bias + vision.ln",
        "only vision.ln1": "vision.ln1",
        "only text.bias": "text.bias",
    }


def test_leave_one_out_takes_each_site_of_the_base_away(cells: MakeCells):
    found = texts(cells("leave_one_out"))
    base = found.pop("base")
    sites = ("text.mlp.fc2.bias", "vision.ln1", "vision.ln2", "vision.ln_pre", "vision.ln_post")
    assert found == {f"without {site}": f"{base} - {site}" for site in sites}


def test_a_site_that_the_base_lacks_cannot_be_left_out_of_it(cells: MakeCells):
    with pytest.raises(StudyError, match=r"text\.ln1.*vision\.ln_post"):
        cells("leave_one_out", sites=["text.ln1"])


@from_table
def test_windows_slide_over_the_blocks_or_grow_from_an_end(
    cells: MakeCells, site: str, windows: JsonObject, ranges: dict[str, str]
):
    base = f"{site} + vision.ln_post"
    expected = {f"layers {name}": f"{site}[{window}]" for name, window in ranges.items()}
    assert texts(cells("layers", base=base, **windows)) == {"base": base, **expected}


def test_a_grid_is_what_is_given_and_an_equal_subset_counts_once(cells: MakeCells):
    subsets = {"twin": "clipfit", "norms": "ln", "again": "text.ln + vision.ln"}
    assert list(cells("grid", subsets=subsets)) == ["base", "norms"]


def test_a_design_without_a_cell_beside_the_base_says_so(cells: MakeCells):
    with pytest.raises(StudyError, match="no cell beside the base"):
        cells("grid", subsets={"twin": "clipfit"})


@from_table
def test_a_kind_that_a_cell_tunes_needs_rates(cells: MakeCells, base: str, cell: str):
    own = {"base": base, "rates": {"ln": [0.1, 0.2]}}
    with pytest.raises(StudyError, match=rf"'{cell}' tunes 'text\..* needs rates\.bias"):
        cells("only_one", sites=["vision.ln2", "text.bias"], **own)
    assert cells("only_one", sites=["vision.ln2"], rates={"ln": [0.1, 0.2]}, base="ln")


OWN_RATES = {"bias": [0.1, 0.2], "ln": [3.0, 4.0]}


@pytest.mark.parametrize(
    "rates, own, trials",
    [
        ([0.1, 1 / 3, 0.1], "text.ln1", {"own at 0.1": (0.1, 0.1), "own at 0.333": (1 / 3, 1 / 3)}),
        (OWN_RATES, "text.ln1", {"own at ln 3": (None, 3.0), "own at ln 4": (None, 4.0)}),
        (
            OWN_RATES,
            "bitfit",
            {f"own at bias {b}, ln {n:g}": (b, n) for b in (0.1, 0.2) for n in (3.0, 4.0)},
        ),
    ],
)
def test_a_cell_is_tried_at_every_combination_of_the_rates_that_it_tunes(
    rates: Any, own: str, trials: dict[str, Any], tmp_path: Path
):
    ablation = {"design": "grid", "subsets": {"own": own}, "rates": rates}
    config = build_config({"ablation": ablation}, "test")
    found = ablation_trials(study_of(config, StudyFolder(tmp_path / "own")))["own"]
    assert {
        name: (one.rates.get("bias"), one.rates.get("ln")) for name, one in found.items()
    } == trials
