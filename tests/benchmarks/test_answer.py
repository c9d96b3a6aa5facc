"""The tables of `answer.py` on results written by hand, and its choices read from a real study."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from study.config.loading import build_config, dump_config
from study.config.trial_settings import TrialSettings
from study.errors import ConfigError
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import read_results
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import PREDICTIONS, End
from study.trial import Prediction, TrialConfig
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Candidate

RIGHT = {
    "zero-shot": {1: "1100", 101: "1100"},
    "clipfit-tuned": {1: "1110", 101: "1010"},
    "linear": {1: "1111", 101: "1101"},
}
"""Whether each of four test images is predicted rightly, by label and test seed."""


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("answer"), importlib.import_module("answer_tables")


@pytest.fixture(scope="module")
def tables(modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return modules[1]


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    """A study in which a linear head on frozen CLIP won, written by hand."""
    folder = StudyFolder(tmp_path / "written-1")
    config = {"name": "written-1", "storage": str(tmp_path), "confirm": {"seeds": [1, 101]}}
    folder.create(dump_config(build_config(config, "written")), {})
    settings = {
        "zero-shot": TrialSettings(subset="none"),
        "clipfit-tuned": TrialSettings(subset="clipfit", rates={"bias": 0.1, "ln": 0.1}),
        "linear": TrialSettings(subset="none", head="linear", head_lr=0.001, head_steps=30),
    }
    candidates = [
        Candidate(label=label, settings=own, val_score=0.6 + place / 10)
        for place, (label, own) in enumerate(settings.items())
    ]
    best = candidates[-1].model_copy(update={"label": "best", "same_as": "linear"})
    folder.write_json("candidates.json", [c.model_dump(mode="json") for c in (*candidates, best)])
    for number, (label, own) in enumerate(settings.items()):
        for seed, right in RIGHT[label].items():
            trial = folder.trial(f"confirm-{label}-seed{seed}")
            values = TrialConfig(
                trial_id=trial.path.name,
                stage="confirm",
                arm=label,
                label=label,
                number=number,
                seed=seed,
                settings=own,
                subset_key="",
                trainable=64 * number,
                epochs=1,
                split_hash="",
            )
            trial.create(values.model_dump(mode="json"))
            accuracy = right.count("1") / len(right)
            trial.append_report(
                {
                    **{"epoch": 1, "seconds": 2.0, "ended_at": 10.0 * number + seed},
                    **{"test_accuracy": accuracy, "test_score": accuracy},
                }
            )
            predictions = [
                Prediction("accuracy", f"{place}.png", "a", "a" if mark == "1" else "b", 0.9)
                for place, mark in enumerate(right)
            ]
            (trial.path / PREDICTIONS).write_bytes(predictions_to_parquet(predictions))
            trial.write_end(End("finished", 1, 2.0))
    return leaderboard(read_results(folder.path))


def choice(tables: ModuleType, seed: int, scores: dict[str, float], **trained: str) -> Any:
    """A choice with the score of each label; the second test seed's is two points higher."""
    tested = {
        label: tables.Tested(
            scores={seed: score - 0.01, 100 + seed: score + 0.01},
            parts={},
            trainable=10 * len(label),
            trained=trained.get(label.replace("-", "_"), label),
            val_score=score,
        )
        for label, score in scores.items()
    }
    return tables.Choice(seed=seed, winner=f"vision.ln{seed}", seconds=1.0, tested=tested)


@pytest.fixture
def choices(tables: ModuleType) -> list[Any]:
    """Three choices: tuned CLIPFit is the winner of the last, linear the peer of all."""
    rows = [
        choice(tables, 1, {"clipfit": 0.7, "clipfit-tuned": 0.9, "peer": 0.88, "best": 0.93}),
        choice(tables, 2, {"clipfit": 0.7, "clipfit-tuned": 0.9, "peer": 0.93, "best": 0.92}),
        choice(
            tables,
            3,
            {"clipfit": 0.7, "clipfit-tuned": 0.91, "peer": 0.86, "best": 0.91},
            best="clipfit-tuned",
        ),
    ]
    return rows


def test_a_row_has_the_mean_over_choices_and_how_often_it_won(
    tables: ModuleType, choices: list[Any]
) -> None:
    rows = {row[0]: row[1:] for row in tables.configurations(choices)}
    assert list(rows) == [
        "CLIPFit as published",
        "CLIPFit, rates tuned by its own search",
        "winner ★",
    ]
    assert rows["CLIPFit as published"] == ["70.0", "70", "0/3", ""]
    # 0.93, 0.92, 0.91 have the standard deviation 0.01; t of 2 degrees is 4.303.
    assert rows["winner ★"] == ["92.0 ± 2.5", "40", "", ""]
    assert rows["CLIPFit, rates tuned by its own search"][2] == "1/3"


def test_a_label_that_some_choices_lack_says_so(tables: ModuleType, choices: list[Any]) -> None:
    fewer = [choice(tables, 4, {"clipfit-tuned": 0.9, "best": 0.9}), *choices]
    rows = {row[0]: row[-1] for row in tables.configurations(fewer)}
    assert rows["CLIPFit as published"] == "in 3 of 4"
    assert rows["winner ★"] == ""


def test_the_winner_is_compared_with_two_and_corrected_for_two(
    tables: ModuleType, choices: list[Any]
) -> None:
    fixed = tables.fixed(choices)
    tuned, peer = fixed.values()
    assert [round(one.paired.difference.mean, 6) for one in (tuned, peer)] == [0.016667, 0.03]
    # Differences 0.03, 0.02, 0: t = 0.016667 / (0.015275 / √3) = 1.8898 with 2 degrees.
    assert tuned.paired.p_value == pytest.approx(0.1994, abs=1e-4)
    # Differences 0.05, −0.01, 0.05: t = 0.03 / (0.034641 / √3) = 1.5.
    assert peer.paired.p_value == pytest.approx(0.2724, abs=1e-4)
    assert tuned.holm_p == pytest.approx(2 * tuned.paired.p_value)
    assert peer.holm_p == pytest.approx(max(tuned.holm_p, peer.paired.p_value))


def test_a_comparison_of_the_winner_with_itself_in_every_choice_falls_away(
    tables: ModuleType,
) -> None:
    same = [
        choice(
            tables,
            s,
            {"clipfit-tuned": 0.9, "peer": 0.8 + s / 100, "best": 0.8 + s / 100},
            best="peer",
        )
        for s in (1, 2, 3)
    ]
    fixed = tables.fixed(same)
    assert list(fixed) == ["tuned CLIPFit"]
    assert fixed["tuned CLIPFit"].holm_p == fixed["tuned CLIPFit"].paired.p_value


def test_the_ladder_has_a_step_for_each_pair_that_was_tested(
    tables: ModuleType, choices: list[Any]
) -> None:
    assert list(tables.ladder(choices)) == ["rates"]
    whole = [
        choice(
            tables,
            seed,
            {
                "clipfit": 0.7,
                "clipfit-tuned": 0.8,
                "best-plain": 0.82,
                "best-text": 0.81,
                "best": 0.9,
            },
        )
        for seed in (1, 2)
    ]
    steps = {name: round(one.difference.mean, 6) for name, one in tables.ladder(whole).items()}
    assert steps == {"rates": 0.1, "subset": 0.02, "strength": -0.01, "head": 0.09}


def test_everything_that_was_found_is_in_the_tables(tables: ModuleType, choices: list[Any]) -> None:
    text = tables.choices_table("Digits", choices)
    assert "**Digits: 3 choices**" in text
    assert "| winner ★ | 92.0 ± 2.5 | 40 |" in text
    assert "| winner − tuned CLIPFit | +1.7 [−2.1, +5.5] | 0.399 |" in text
    assert "| rates | +20.3 [+18.9, +21.8] |" in text
    assert "Winners: 1 × vision.ln1; 1 × vision.ln2; 1 × vision.ln3." in text


def test_a_choice_is_read_from_its_study_with_its_best_peer(
    modules: tuple[ModuleType, ModuleType], board: Leaderboard
) -> None:
    found = modules[0].choice_of(1, board)
    assert found.winner == "a linear head on CLIP as it is"
    assert found.seconds == 12.0  # six trials of an epoch each
    assert set(found.tested) == {*RIGHT, "best", "peer"}
    scores = {label: one.score for label, one in found.tested.items()}
    assert scores == {
        **{"zero-shot": 0.5, "clipfit-tuned": 0.625},
        **dict.fromkeys(("linear", "best", "peer"), 0.875),
    }
    assert {label for label, one in found.tested.items() if one.trained == "linear"} == {
        *("linear", "best", "peer")
    }


def test_a_study_with_another_configuration_is_not_taken_for_finished(
    modules: tuple[ModuleType, ModuleType], board: Leaderboard
) -> None:
    answer = modules[0]
    config = board.study.config
    assert not answer.is_finished(config)
    (board.folder.path / DESCRIPTION).write_text("done")
    assert answer.is_finished(config)
    with pytest.raises(ConfigError, match="seed: is frozen as 1, got 7"):
        answer.is_finished(config.model_copy(update={"seed": 7}))


def test_a_quick_run_looks_at_no_image_of_a_claim(modules: tuple[ModuleType, ModuleType]) -> None:
    cases = importlib.import_module("answer_cases")
    for name, case in cases.CASES.items():
        tiny = cases.quick(name, case)
        assert tiny.images is None
        assert tiny.changes["data.dataset"] in ("digits", "glyphs")


@pytest.mark.parametrize("name", ["digits", "letters", "generalized"])
def test_the_studies_of_a_case_differ_by_their_seed_alone(
    modules: tuple[ModuleType, ModuleType],
    name: str,
    tmp_path: Path,
) -> None:
    cases = importlib.import_module("answer_cases")

    def images(folder: Path) -> Path:
        return folder / "images.csv"

    images.__name__ = cases.CASES[name].images.__name__
    case = replace(cases.CASES[name], images=images)
    one, other = (
        cases.configuration(name, case, tmp_path, seed).model_dump(mode="json") for seed in (1, 2)
    )
    assert (one["seed"], one["confirm"]["seeds"]) == (1, [1, 101])
    assert (other["seed"], other["confirm"]["seeds"]) == (2, [2, 102])
    assert one["data"]["templates"] == ["a photo of the {}."]
    for values in (one, other):
        values["name"] = values["seed"] = values["confirm"]["seeds"] = None
    assert one == other
