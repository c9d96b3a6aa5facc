"""Chance is what naming the largest class would score, made of its parts as scores are."""

import json
from pathlib import Path
from typing import Any

import pytest

from study.protocols import FewShot, hmean, named
from study.storage.study_folder import StudyFolder
from study.trial.predictions import beats_chance, chance_level, read_confusion


def part(*images: int) -> dict[str, Any]:
    """Counts of so many images a class, half of them right."""
    pairs = []
    for true, number in enumerate(images):
        pairs += [[true, true, number // 2], [true, 0, number - number // 2]]
    return {"classes": [f"class {c}" for c in range(len(images))], "pairs": pairs}


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    (tmp_path / "trials/t").mkdir(parents=True)
    return StudyFolder(tmp_path)


@pytest.mark.parametrize(
    ("parts", "protocol", "chance"),
    [
        ({"accuracy": part(40, 40, 40)}, "few_shot", 1 / 3),
        ({"accuracy": part(60, 20, 20)}, "few_shot", 0.6),
        ({"base": part(10, 10), "new": part(10, 10, 10, 10)}, "base_to_new", 1 / 3),
        ({"base": part(80, 20), "new": part(10, 30)}, "base_to_new", hmean(0.8, 0.75)),
        ({"base": part(10, 30)}, "base_to_new", 0.75),
        # Images count for nothing where accuracies are averaged over classes, all names possible.
        ({"base": part(80, 20), "new": part(20, 5, 5)}, "generalized", 1 / 5),
        ({"accuracy": part(9, 1), "dtd": part(1, 1), "pets": part(1, 3)}, "transfer", 0.625),
        ({"accuracy": part(9, 1), "dtd": part(1, 1)}, "zero_shot", 0.7),
        ({"accuracy": {"classes": ["a", "b"], "counts": [[3, 3], [1, 1]]}}, "few_shot", 0.75),
    ],
)
def test_parts_make_up_chance_as_they_make_up_a_score(
    study: StudyFolder, parts: dict[str, Any], protocol: str, chance: float
) -> None:
    (study.path / "trials/t/confusion.json").write_text(json.dumps(parts))
    assert chance_level(read_confusion(study, "t"), named(protocol)) == pytest.approx(chance)


def test_of_a_trial_that_kept_no_counts_it_is_unknown(study: StudyFolder) -> None:
    assert chance_level(read_confusion(study, "t"), FewShot()) is None
    assert beats_chance(0.0, None)


def test_what_always_names_the_largest_class_is_at_chance_whatever_the_rounding(
    study: StudyFolder,
) -> None:
    parts = {"accuracy": part(200, 50, 50)}
    (study.path / "trials/t/confusion.json").write_text(json.dumps(parts))
    chance = chance_level(read_confusion(study, "t"), FewShot())
    assert chance == pytest.approx(2 / 3)
    for score in (2 / 3, round(2 / 3, 12), sum([round(2 / 3, 12)] * 3) / 3):
        assert not beats_chance(score, chance)
    assert beats_chance(201 / 300, chance)
