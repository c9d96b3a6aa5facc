"""What mattered is said with its doubts, and the command of an ablation is sound."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image
from statsmodels.stats.proportion import confint_proportions_2indep

from study.commands import main
from study.config.loading import load_config
from study.config.shipped import shipped_file
from study.report.site_share_tables import (
    BEST,
    ablation_command,
    share_sentences,
    share_table,
    site_shares,
)
from study.results.study_results import read_results
from tests.results.conftest import change_json, change_settings, configure


def set_search(folder: Path, subsets: list[str]) -> Path:
    """Let the open search's trials tune given subsets, all to the end, the best first."""
    paths = sorted(folder.glob("trials/search-*/config.json"))
    own = [p for p in paths if json.loads(p.read_text())["arm"] == "search"]
    for number, path in enumerate(own):
        if number >= len(subsets):
            (path.parent / "end.json").unlink()
            continue
        change_settings(path, subset=subsets[number])
        score = 0.9 - number / 100
        report = {"epoch": 12, "val_score": score, "val_accuracy": score, "seconds": 1.0}
        (path.parent / "reports.jsonl").write_text(json.dumps(report) + "\n")
        end = {"status": "finished", "epochs": 12, "seconds": 12.0, "reason": None, "error": None}
        (path.parent / "end.json").write_text(json.dumps(end))
    return folder


WITH, WITHOUT = "text.mlp.fc2.bias[0:2] + vision.ln1", "text.mlp.fc2.bias"


@pytest.fixture
def told_apart(few_shot_study: Path) -> Path:
    """A study of which nine of the best ten trials tune `vision.ln1`, and one of the others."""
    best = [WITH] * 9 + [WITHOUT]
    return set_search(few_shot_study, [*best, WITH, *[WITHOUT] * 9])


def test_the_best_are_compared_with_all_that_finished(told_apart: Path) -> None:
    results = read_results(told_apart)
    rows = {row.site: row for row in site_shares(results)}
    row = rows["vision.ln1"]
    assert (row.best, row.of_best, row.every, row.of_every) == (9, 10, 10, 20)
    assert row.difference == pytest.approx(0.9 - 0.5)
    # The nine of ten against one of ten others, halved, as half of all are others.
    known = confint_proportions_2indep(9, 10, 1, 10, method="newcomb")
    assert (row.interval.low, row.interval.high) == pytest.approx([end / 2 for end in known])
    assert rows["text.mlp.fc2.bias"].difference == 0.0
    assert rows["vision.ln_pre"].best == rows["vision.ln_pre"].every == 0
    assert len(rows) == len(results.study.config.search.space.sites)
    assert next(iter(rows)) == "vision.ln1"


def test_what_is_more_frequent_is_named_and_the_rest_is_called_unknown(told_apart: Path) -> None:
    results = read_results(told_apart)
    more, rest, limits = share_sentences(results, site_shares(results))
    assert "vision.ln1 (90 % of the best 10, 50 % of all: +40.0 points" in more
    assert "+18.5 to +45.8" in more
    assert rest.startswith("For the other 12 sites the interval contains 0")
    assert "With so few trials the intervals are wide." in rest
    assert "one false finding in 20" in limits
    assert "Left out" not in limits


def test_trials_that_were_stopped_early_are_said_to_be_left_out(told_apart: Path) -> None:
    ends = [
        path
        for path in sorted(told_apart.glob("trials/search-*/end.json"))
        if json.loads(path.with_name("config.json").read_text())["arm"] == "search"
    ]
    for path in ends[-3:]:
        change_json(path, status="stopped")
    results = read_results(told_apart)
    *_, limits = share_sentences(results, site_shares(results))
    assert "of the 17 trials have in common" in limits
    assert "Left out are 3 trials that were stopped early" in limits


def test_what_is_less_frequent_is_named_too(few_shot_study: Path) -> None:
    subsets = [WITHOUT] * 10 + [WITH] * 10
    results = read_results(set_search(few_shot_study, subsets))
    less, *_ = share_sentences(results, site_shares(results))
    assert less.startswith("Less often in the best 10 than in all: vision.ln1 (0 % of the best 10,")


def test_where_nothing_stands_out_that_is_what_is_said(few_shot_study: Path) -> None:
    results = read_results(set_search(few_shot_study, [WITH] * 20))
    first, _ = share_sentences(results, site_shares(results))
    assert first.startswith("For all 13 sites the interval contains 0")


def test_too_few_finished_trials_are_not_compared(few_shot_study: Path) -> None:
    results = read_results(set_search(few_shot_study, [WITH] * BEST))
    assert site_shares(results) == ()
    (sentence,) = share_sentences(results, ())
    assert "10 of 24 trials ran all their epochs" in sentence
    assert share_table(()).rows == []


def test_the_table_is_in_percent_and_explains_each_site(told_apart: Path) -> None:
    table = share_table(site_shares(read_results(told_apart)))
    assert table.header[2:4] == ["of the best 10 %", "of all 20 %"]
    assert table.rows[0] == [
        *("vision.ln1", "the LayerNorms before the attention, image encoder"),
        *("90", "50", "+40.0", "[+18.5, +45.8]"),
    ]


def words_of(folder: Path) -> list[str]:
    command = ablation_command(read_results(folder))
    assert max(map(len, command.splitlines())) <= 100
    program, *words = shlex.split(command.replace("\\\n", ""))
    assert program == "clipfit-study"
    return words


def assert_sound(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command passes the check of everything, and is of what the study was of."""
    monkeypatch.chdir(tmp_path)
    words = words_of(folder)
    assert main([*words, "--check"]) == 0, capsys.readouterr().err
    assert "all is well" in capsys.readouterr().out
    planned = load_config(shipped_file("ablation"), words[2:])
    config = read_results(folder).study.config
    assert planned.ablation is not None
    same = ("protocol", "seed", "data", "backbone", "training", "resources", "tracking", "storage")
    for part in same:
        assert getattr(planned, part) == getattr(config, part), part
    assert planned.confirm.seeds == config.confirm.seeds


@pytest.mark.parametrize("study", ["few_shot_study", "base_to_new_study"])
def test_the_command_of_an_ablation_passes_its_check(
    request: pytest.FixtureRequest,
    study: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_sound(request.getfixturevalue(study), tmp_path, monkeypatch, capsys)


def test_so_does_that_of_own_images_in_a_folder_with_a_strange_name(
    few_shot_study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog's"):
            folder = tmp_path / "my pets: $HOME" / split / name
            folder.mkdir(parents=True)
            for number in range(9):
                Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    changes = [
        *("data.dataset='it''s: #1'", "data.root='my pets: $HOME'", "data.val_shots=2"),
        *('data.templates=["a {} isnt \\"it\\"", "{}"]', "seed=7", "confirm.seeds=[3, 4]"),
        *("training.weight_decay=1.0e-7", "search.selection=holdout", "storage=my runs"),
        *("search.space.sites=[vision.ln1, text.bias]", "resources.max_concurrent=1"),
    ]
    configure(few_shot_study, *changes)
    assert_sound(few_shot_study, tmp_path, monkeypatch, capsys)


def test_its_rates_are_around_those_of_the_best_trials(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*/config.json"):
        change_settings(path, rates={"bias": 0.08, "ln": 0.13})
    words = words_of(few_shot_study)
    assert "ablation.rates=[0.01, 0.03, 0.1, 0.3, 1.0]" in words
    (weight,) = [word for word in words if word.startswith("ablation.distill_weight=")]
    candidates = json.loads((few_shot_study / "candidates.json").read_text())
    (tuned,) = [c for c in candidates if c["label"] == "clipfit-tuned"]
    expected = tuned["settings"]["distill_weight"]
    assert float(weight.partition("=")[2]) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("change", ["search.trials=0", "protocol=zero_shot"])
def test_without_a_search_there_is_no_command(few_shot_study: Path, change: str) -> None:
    configure(few_shot_study, change)
    assert ablation_command(read_results(few_shot_study)) is None
