"""The cells of an ablation by design, and how its steps train and choose."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.errors import StudyError
from study.method.subsets import Subset
from study.search import steps
from study.search.ablation_cells import ablation_cells, ablation_trials
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End
from study.trial.study import Study, TrialConfig, TrialData
from tests.real_study import configs_of
from tests.settings import settings, study_of
from tests.study_writer import StudyWriter

UNREAD = StudyFolder(Path("unread"))


def ablating(**ablation: object) -> Study:
    return study_of(build_config({"ablation": ablation}, "test"), UNREAD)


def cells(design: str, **ablation: object) -> dict[str, Subset]:
    return ablation_cells(ablating(design=design, **ablation))


def texts(cells: dict[str, Subset]) -> dict[str, str]:
    return {label: str(subset) for label, subset in cells.items()}


def test_only_one_trains_each_site_alone_beside_the_base():
    assert texts(cells("only_one", sites=["vision.ln1", "none", "text.bias"])) == {
        "base": "text.mlp.fc2.bias + vision.ln",
        "only vision.ln1": "vision.ln1",
        "only text.bias": "text.bias",
    }


def test_leave_one_out_takes_each_site_of_the_base_away():
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
    site: str, windows: JsonObject, ranges: dict[str, str]
):
    base = f"{site} + vision.ln_post"
    expected = {f"layers {name}": f"{site}[{window}]" for name, window in ranges.items()}
    assert texts(cells("layers", base=base, **windows)) == {"base": base, **expected}


def test_a_grid_is_what_is_given_and_an_equal_subset_counts_once():
    subsets = {"twin": "clipfit", "norms": "ln", "again": "text.ln + vision.ln"}
    assert list(cells("grid", subsets=subsets)) == ["base", "norms"]


@pytest.mark.parametrize(
    "design, ablation, error",
    [
        ("leave_one_out", {"sites": ["text.ln1"]}, r"text\.ln1.*vision\.ln_post"),
        ("grid", {"subsets": {"twin": "clipfit"}}, "no cell but the base"),
        ("only_one", {"rates": {"ln": [0.1]}}, r"no rate for bias.*'base' tunes 'text\."),
        (
            "only_one",
            {"sites": ["text.bias"], "rates": {"ln": [0.1]}, "base": "ln"},
            r"no rate for bias.*'only text\.bias' tunes",
        ),
    ],
)
def test_what_a_design_cannot_do_is_refused(design: str, ablation: JsonObject, error: str):
    with pytest.raises(StudyError, match=error):
        cells(design, **ablation)


OWN_RATES = {"bias": [0.1, 0.2], "ln": [3.0, 4.0]}
EACH_BIAS_AND_LN = {
    f"own at bias {b}, ln {n:g}": (b, n) for b in OWN_RATES["bias"] for n in OWN_RATES["ln"]
}
OWN_LN = {"own at ln 3": (None, 3.0), "own at ln 4": (None, 4.0)}


@pytest.mark.parametrize(
    "base, own, rates, trials",
    [
        (
            *("clipfit", "text.ln1", [0.1, 1 / 3, 0.1]),
            {"own at 0.1": (0.1, 0.1), "own at 0.333": (1 / 3, 1 / 3)},
        ),
        ("clipfit", "text.ln1", OWN_RATES, OWN_LN),
        ("clipfit", "bitfit", OWN_RATES, EACH_BIAS_AND_LN),
        ("ln", "text.ln1", {"ln": OWN_RATES["ln"]}, OWN_LN),
    ],
)
def test_a_cell_is_tried_at_every_combination_of_the_rates_that_it_tunes(
    base: str, own: str, rates: Any, trials: dict[str, Any]
):
    study = ablating(design="grid", base=base, subsets={"own": own}, rates=rates)
    found = ablation_trials(study)["own"]
    assert {
        name: (one.rates.get("bias"), one.rates.get("ln")) for name, one in found.items()
    } == trials


CELLS = ["base", "norms", "biases"]
GRID: JsonObject = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}


@pytest.fixture
def ablation(tmp_path: Path) -> StudyWriter:
    return StudyWriter(tmp_path / "mine", seed=3, ablation=GRID)


def train(
    ablation: StudyWriter,
    data: TrialData,
    scores: Mapping[str, tuple[float, float] | None],
) -> list[TrialConfig]:
    """Let trials end at once; return them.

    Args:
        ablation: the study.
        data: what its trials read.
        scores: of a cell at 0.01 and at 0.1; None means that both trials fail.
    """
    for one in steps.run_ablation(study_of(ablation.config, ablation.folder), data, []):
        while config := one.searcher.suggest("any"):
            score = scores.get(config.group, (0.5, 0.6))
            if score is None:
                ablation.fail(config.trial_id)
                continue
            trial = ablation.folder.trial(config.trial_id)
            trial.append_reports({"epoch": 1, "val_score": score["at 0.1" in config.label]})
            trial.write_end(End("finished", 1, 1.0))
    return configs_of(ablation.folder)


def choose_rates(ablation: StudyWriter) -> JsonObject:
    return {**steps.choose_rates(study_of(ablation.config, ablation.folder))}


def test_validation_chooses_the_rates_of_each_cell_once(
    ablation: StudyWriter, few_digits: TrialData
):
    trials = train(ablation, few_digits, {"norms": (0.8, 0.3), "biases": (0.4, 0.4)})
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
    assert choose_rates(ablation) == chosen
    ablation.configure("ablation.rates=[0.3]")
    assert choose_rates(ablation) == chosen, "it is written"


def test_a_cell_that_failed_at_every_rate_is_left_out(ablation: StudyWriter, few_digits: TrialData):
    train(ablation, few_digits, {"base": None})
    assert list(choose_rates(ablation)) == ["norms", "biases"]


def test_no_rate_is_chosen_if_all_cells_failed(ablation: StudyWriter, few_digits: TrialData):
    train(ablation, few_digits, dict.fromkeys(CELLS))
    with pytest.raises(StudyError, match="no trial ran all its epochs"):
        choose_rates(ablation)
    assert ablation.study.cells() is None


def test_a_single_rate_needs_no_search(ablation: StudyWriter):
    ablation.configure("ablation.rates=[0.3]")
    subsets = ("text.mlp.fc2.bias + vision.ln", "vision.ln", "text.bias")
    assert choose_rates(ablation) == {
        name: settings(own, 0.3, 0.3, 2.0) for name, own in zip(CELLS, subsets, strict=True)
    }


def test_each_cell_is_tested_with_each_seed_under_a_name_of_its_own(
    few_digits: TrialData, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.search.make_trial.compute_config_hash", lambda *_: "")  # slow
    study = study_of(StudyConfig(), UNREAD)
    cells = {f"cell {n}": settings("vision.ln", None, 0.01 + n / 10_000) for n in range(3)}
    data = {seed: replace(few_digits, digest=str(seed) * 64) for seed in (3, 1)}
    tested = steps.plan_test(study, cells, data, "ablation").trials
    expected = [(label, own, seed) for seed in data for label, own in cells.items()]
    assert [(trial.label, trial.settings, trial.seed) for trial in tested] == expected
    assert [trial.trial_id for trial in tested[2:4]] == ["ablation-0002", "ablation-1000"]
