"""The command of an ablation around what a search found is sound."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from study.commands.main import main
from study.config.loading import load_config
from study.config.shipped import shipped_file
from study.report.ablation_command import ablation_command
from study.results.study_result import read_study_result
from tests.changed_studies import change_settings, configure
from tests.image_folders import image_folder
from tests.not_none import not_none


def words_of(folder: Path) -> list[str]:
    command = not_none(ablation_command(read_study_result(folder)))
    assert max(map(len, command.splitlines())) <= 100
    program, *words = shlex.split(command.replace("\\\n", ""))
    assert program == "clipfit-study"
    return words


OWN_IMAGES = (
    *("data.dataset='it''s: #1'", "data.root='my pets: $HOME'", "data.val_shots=2"),
    *('data.templates=["a {} isnt \\"it\\"", "{}"]', "seed=7", "test.seeds=[3, 4]"),
    *("training.weight_decay=1.0e-7", "search.selection=holdout", "storage=my runs"),
    *("search.space.sites=[vision.ln1, text.bias]", "resources.max_concurrent=1"),
)


def test_the_command_passes_the_check_of_everything_and_is_of_what_the_study_was_of(
    make_study: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    image_folder(Path("my pets: $HOME"), ("cat", "dog's"), ("cat", "dog's"), number=9)
    folder = make_study("glyphs")
    configure(folder, *OWN_IMAGES)
    words = words_of(folder)
    assert main([*words, "--check"]) == 0, capsys.readouterr().err
    assert "all is well" in capsys.readouterr().out
    planned = load_config(not_none(shipped_file("ablation")), words[2:])
    config = read_study_result(folder).study.config
    assert planned.ablation is not None
    same = ("protocol", "seed", "data", "backbone", "training", "resources", "tracking", "storage")
    for part in same:
        assert getattr(planned, part) == getattr(config, part), part
    assert planned.test.seeds == config.test.seeds


def test_its_rates_are_around_those_of_the_best_trials(few_shot_study: Path):
    for path in few_shot_study.glob("trials/search-*/config.json"):
        change_settings(path, rates={"bias": 0.08, "ln": 0.13})
    words = words_of(few_shot_study)
    assert "ablation.rates=[0.01, 0.03, 0.1, 0.3, 1.0]" in words


@pytest.mark.parametrize("change", ["search.trials=0", "protocol=zero_shot"])
def test_without_a_search_there_is_no_command(few_shot_study: Path, change: str):
    configure(few_shot_study, change)
    assert ablation_command(read_study_result(few_shot_study)) is None
