"""The cells of an ablation by design, and how its steps train and choose."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.errors import StudyError
from study.method.subsets import Subset
from study.search import steps
from study.search.ablation_cells import ablation_cells, ablation_trials
from study.search.searcher import Round
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import Study, TrialConfig, TrialData
from tests.real_study import RealStudy, configs_of
from tests.settings import settings, study_of

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


@pytest.mark.parametrize(
    "site, windows, ranges",
    [
        ("vision.ln1", {"width": 2}, {"0–1": "0:2", "1–2": "1:3"}),
        ("vision.ln1", {"windows": "from_bottom"}, {"0–0": "0:1", "0–1": "0:2", "0–2": "0:3"}),
        ("vision.ln1", {"windows": "from_top"}, {"2–2": "2:3", "1–2": "1:3", "0–2": "0:3"}),
        ("text.ln1", {"width": 1}, {"0–0": "0:1", "1–1": "1:2"}),
        ("text.ln1", {"width": 2}, {"0–1": "0:2", "1–2": "1:2"}),
    ],
)
def test_windows_slide_over_the_blocks_or_grow_from_an_end(
    cells: MakeCells, site: str, windows: JsonObject, ranges: dict[str, str]
):
    base = f"{site} + vision.ln_post"
    expected = {f"layers {name}": f"{site}[{window}]" for name, window in ranges.items()}
    assert texts(cells("layers", base=base, **windows)) == {"base": base, **expected}


def test_a_grid_is_what_is_given_and_an_equal_subset_counts_once(cells: MakeCells):
    subsets = {"twin": "clipfit", "norms": "ln", "again": "text.ln + vision.ln"}
    assert list(cells("grid", subsets=subsets)) == ["base", "norms"]


@pytest.mark.parametrize(
    "design, ablation, error",
    [
        ("leave_one_out", {"sites": ["text.ln1"]}, r"text\.ln1.*vision\.ln_post"),
        ("grid", {"subsets": {"twin": "clipfit"}}, "no cell beside the base"),
        ("only_one", {"rates": {"ln": [0.1]}}, r"'base' tunes 'text\..* needs rates\.bias"),
        (
            "only_one",
            {"sites": ["text.bias"], "rates": {"ln": [0.1]}, "base": "ln"},
            r"'only text\.bias' tunes .* needs rates\.bias",
        ),
    ],
)
def test_what_a_design_cannot_do_is_refused(
    cells: MakeCells, design: str, ablation: JsonObject, error: str
):
    with pytest.raises(StudyError, match=error):
        cells(design, **ablation)


def test_rates_are_needed_of_the_tuned_kinds_alone(cells: MakeCells):
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


pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., RealStudy]


CELLS = ["base", "norms", "biases"]
GRID: JsonObject = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}


class Ablation:
    """An ablation whose trials end at once, each with a score that follows from its rates."""

    def __init__(self, path: Path, data: TrialData):
        self.folder = StudyFolder(path)
        self.folder.create(dump_config(build_config({"ablation": GRID}, "test")), {})
        self.data = data
        self.scores: dict[str, tuple[float | None, float | None]] = {}
        """Of a cell at 0.01 and at 0.1; None means that the trial fails."""

    def study(self, **changes: Any) -> Study:
        config = build_config({"seed": 3, "ablation": GRID | changes}, "test")
        return study_of(config, self.folder)

    def train(self) -> list[TrialConfig]:
        """Train the cells; return their trials."""
        study = self.study()
        for one in steps.run_ablation(study, self.data, []):
            self._run_trials(study, one)
        return configs_of(self.folder)

    def rates(self, **changes: Any) -> JsonObject:
        return {**steps.choose_rates(self.study(**changes))}

    def _run_trials(self, study: Study, one: Round):
        while config := one.searcher.suggest("any"):
            trial = study.folder.trial(config.trial_id)
            score = self.scores.get(config.group, (0.5, 0.6))["at 0.1" in config.label]
            if score is not None:
                trial.append_reports({"epoch": 1, "val_score": score, "seconds": 1.0})
            trial.write_end(End("failed" if score is None else "finished", 1, 1.0))


@pytest.fixture
def ablation(tmp_path: Path, few_digits: TrialData) -> Ablation:
    return Ablation(tmp_path / "mine", few_digits)


def test_every_cell_is_trained_at_every_rate_and_validation_chooses_once(ablation: Ablation):
    ablation.scores = {"norms": (0.8, 0.3), "biases": (0.4, 0.4)}
    trials = ablation.train()
    assert [(trial.trial_id, trial.group, trial.label) for trial in trials] == [
        (f"search-{2 * cell + turn:04d}", name, f"{name} at {rate}")
        for cell, name in enumerate(CELLS)
        for turn, rate in enumerate((0.01, 0.1))
    ]
    chosen = {
        "base": settings("clipfit", 0.1, 0.1, 2.0),
        "norms": settings("vision.ln", None, 0.01, 0.0),
        "biases": settings("text.bias", 0.01, None, 2.0),  # of two that are equal the first
    }
    assert [trials[number].settings for number in (1, 2, 4)] == [*chosen.values()]
    assert ablation.rates() == chosen
    assert ablation.rates(rates=[0.3]) == chosen, "it is written"


@pytest.mark.parametrize("failed, left", [(["base"], ["norms", "biases"]), (CELLS, [])])
def test_a_cell_that_failed_at_every_rate_is_left_out(
    ablation: Ablation, failed: list[str], left: list[str]
):
    ablation.scores = dict.fromkeys(failed, (None, None))
    ablation.train()
    if left:
        assert list(ablation.rates()) == left
        return
    with pytest.raises(StudyError, match="no trial of any cell ran all its epochs"):
        ablation.rates()
    assert ablation.study().cells() is None


def test_a_single_rate_needs_no_search(ablation: Ablation):
    subsets = ("text.mlp.fc2.bias + vision.ln", "vision.ln", "text.bias")
    assert ablation.rates(rates=[0.3]) == {
        name: settings(own, 0.3, 0.3, 2.0) for name, own in zip(CELLS, subsets, strict=True)
    }


def test_each_cell_is_tested_with_each_seed_under_a_name_of_its_own(
    few_digits: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "trials").mkdir()
    monkeypatch.setattr("study.search.make_trial.compute_config_hash", lambda *_: "")  # slow
    study = study_of(StudyConfig(), StudyFolder(tmp_path))
    cells = {f"cell {n}": settings("vision.ln", None, 0.01 + n / 10_000) for n in range(3)}
    data = {seed: replace(few_digits, digest=str(seed) * 64) for seed in (3, 1)}
    tested = steps.plan_test(study, cells, data, "ablation").trials
    expected = [(label, own, seed) for seed in data for label, own in cells.items()]
    assert [(trial.label, trial.settings, trial.seed) for trial in tested] == expected
    assert [trial.trial_id for trial in tested[2:4]] == ["ablation-0002", "ablation-1000"]
