"""What a study would take: real steps, times the number of them that it makes."""

from pathlib import Path
from typing import Any

import pytest

from study.commands import estimate as module
from study.commands.estimate import Cost, Estimate, estimate, estimate_from_cost
from study.config.loading import build_config, load_config
from study.config.shipped import shipped_file
from study.errors import StudyError
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.not_none import not_none


def study(tmp_path: Path, backbone: Path, **values: Any) -> Study:
    defaults = {
        "name": "mine",
        "storage": str(tmp_path),
        "backbone": {"name": str(backbone)},
        "resources": {"max_concurrent": 1},
        "data": {"shots": 4},
        "training": {"epochs": 10, "batch_size": 10},
    }
    config = build_config(defaults | values, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def test_steps_and_evaluations_add_up(tmp_path: Path, tiny_backbone: Path, known: Cost):
    found = estimate(study(tmp_path, tiny_backbone, search={"trials": 0}))
    # Nothing is searched. Of 5 baselines 3 train, but all are counted: 5 seeds, 10 epochs of
    # 4 steps on 40 images, and 901 test images.
    assert found.search == 0
    assert found.test == pytest.approx(5 * 5 * (10 * 4 * 1.0 + 901 * 0.001))


@pytest.mark.parametrize(
    "limits, within",
    # What is limited is 3 baselines of 10 epochs and 44 trials of 5 + 1/9; the baselines are not.
    # An epoch is 24 steps of a second, of 4 folds of 60 images; 80 images are scored in 0.08 s,
    # after epochs 3 and 9, where halving decides, and after the last.
    [
        ({"minutes": 1e6, "asha": None}, 47 * (10 * 24 + 0.08)),
        ({"minutes": 1e6}, 3 * (10 * 24 + 3 * 0.08) + 44 * (46 * 24 + 13 * 0.08) / 9),
        ({"minutes": 30.0}, 2 * 1800),
        ({"minutes": 1.0}, 3 * (10 * 24 + 3 * 0.08)),
    ],
)
def test_a_search_is_shortened_by_halving_and_ends_with_its_time(
    tmp_path: Path, limits: dict[str, Any], within: float
):
    mine = study(tmp_path, Path("none"), search=limits)
    found = estimate_from_cost(mine, Cost(step=1.0, image=0.001, memory=10**9), slots=2)
    assert found.search == pytest.approx(within / 2)
    assert found.minutes == limits["minutes"]
    assert found.answers == pytest.approx((80 + 4 * 80) * 0.001), "each image, and four views"


def test_an_ablation_trains_each_cell_at_each_rate_and_tests_each_cell(
    tmp_path: Path, tiny_backbone: Path, known: Cost
):
    ablation = {"design": "grid", "subsets": {"one": "vision.ln1", "two": "text.ln1"}}
    mine = study(tmp_path, tiny_backbone, ablation={**ablation, "rates": [0.01, 0.1, 1.0]})
    found = estimate(mine)
    # 3 cells with the base; a trial as above, and one of the test on 40 images.
    assert found.search == pytest.approx(3 * 3 * (10 * 24 + 3 * 0.08))
    assert found.test == pytest.approx(5 * 3 * (10 * 4 * 1.0 + 901 * 0.001))


def test_test_and_final_model_come_beside_the_time_of_the_search(tmp_path: Path):
    search = {"minutes": 1.0, "heads": ["text", "linear"]}
    mine = study(tmp_path, Path("none"), search=search)
    found = estimate_from_cost(mine, Cost(step=1.0, image=0.001, memory=10**9), slots=2)
    # 5 seeds of 3 baselines, tuned CLIPFit, the best and 2 runners-up; one training on 80 images.
    assert found.test == pytest.approx(5 * 7 * (10 * 4 * 1.0 + 901 * 0.001) / 2)
    assert found.final == pytest.approx(10 * 8 * 1.0 + 901 * 0.001)
    assert found.total == found.search + found.test + found.final


def test_photos_search_within_their_time_and_all_that_is_beside_it_is_named(
    tmp_path: Path,
):
    """The promise of the configuration, the estimate and the README agree."""
    for number in range(300):
        image = tmp_path / "photos" / f"class {number % 10}" / f"{number}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    overrides = [f"data.root={tmp_path / 'photos'}", f"storage={tmp_path}"]
    config = load_config(not_none(shipped_file("photos")), overrides)
    photos = Study(config, StudyFolder(tmp_path / "mine"))
    found = estimate_from_cost(photos, Cost(step=3.1, image=0.097, memory=1_600_000_000), slots=2)
    limit = not_none(config.search.minutes)
    assert found.search <= 60 * limit
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"a search of at most {limit:g} minutes" in readme


def test_nothing_is_measured_where_no_trial_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "measure_apart", lambda *_: pytest.fail("it was measured"))
    told = r"no room for a trial: see resources\.cpus_per_trial=999 "
    with pytest.raises(StudyError, match=told):
        estimate(study(tmp_path, Path("none"), resources={"cpus_per_trial": 999}))


COST = Cost(0.5, 0.01, 1_500_000_000)


@pytest.mark.parametrize(
    "found, numbers",
    [
        (Estimate(600.0, 180.0, 2, COST), ["13 min", "2 trials", "10 min", "3 min"]),
        (
            Estimate(600.0, 180.0, 1, COST, 10.0, final=240.0),
            ["17 min", "1 trial ", "10 min", "at most search.minutes=10", "3 min", "4 min"],
        ),
        (Estimate(600.0, 180.0, 2, COST, 5.0), ["or what the baselines need", "3 min"]),
        (Estimate(0.0, 180.0, 2, COST, 5.0), ["at once: 3 min"]),
        (Estimate(3600.0, 5400.0, 2, COST), ["2.5 h", "1.0 h for the search", "1.5 h"]),
        (Estimate(600.0, 180.0, 2, COST, answers=61.0), ["head) come within about 2 minutes"]),
    ],
)
def test_each_part_is_told_with_its_time(found: Estimate, numbers: list[str]):
    for number in numbers:
        assert number in str(found)
    assert "1.5 GB" in str(found)
