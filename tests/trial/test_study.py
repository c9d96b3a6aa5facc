"""A study as its parts share it, and the types of a trial, which need no PyTorch."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import study.trial.study as module
from study.config.loading import build_config, dump_config
from study.data import datasets
from study.protocols import Transfer
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder
from study.trial import Target, TrialConfig
from study.trial.study import BEST, Candidate, Study, best_candidate
from tests.settings import settings
from tests.small_trials import trial, trial_data


@pytest.fixture
def mine(tmp_path: Path) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path)}, "test")
    folder = StudyFolder(tmp_path / "mine")
    folder.create(dump_config(config), {})
    return Study(config, folder)


def best(score: float = 0.9) -> Candidate:
    own = settings("vision.ln", None, 0.1)
    return Candidate(label=BEST, settings=own, val_score=score, source_trial="search-0003")


def test_data_and_checkpoint_are_read_once(mine: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def read_once_more(*arguments: Any, **options: Any) -> Any:
            read.append(real)
            return real(*arguments, **options)

        return read_once_more

    for home, name in ((datasets, "load_dataset"), (module, "read_architecture")):
        monkeypatch.setattr(home, name, counted(getattr(home, name)))
    for _ in range(3):
        assert mine.dataset().name == "digits"
        assert mine.architecture().image_size
    assert len(read) == 2


def test_a_choice_is_looked_for_until_it_is_there_and_then_kept(mine: Study) -> None:
    other = Study(mine.config, mine.folder)
    assert mine.candidates() is other.candidates() is best_candidate(mine.candidates()) is None
    assert mine.write_candidates([best()]) == (best(),)
    assert other.candidates() == (best(),)
    assert best_candidate(other.candidates()) == best()
    mine.folder.write_json("candidates.json", [])
    assert other.candidates() == (best(),)


def test_cells_are_kept_too(mine: Study) -> None:
    assert mine.cells() is None
    assert mine.write_cells({"base": settings("ln", None, 0.1)}) == mine.cells()
    assert Study(mine.config, mine.folder).cells() == {"base": settings("ln", None, 0.1)}


def test_a_damaged_choice_is_an_error(mine: Study) -> None:
    mine.write_candidates([best()])
    (mine.folder.path / "candidates.json").write_text("[]")
    with pytest.raises(LedgerError, match=r"candidates\.json"):
        Study(mine.config, mine.folder).candidates()


def test_a_trials_configuration_comes_back_from_its_file() -> None:
    config = trial(bias_lr=None, optuna_number=3, taken_from="a" * 32)
    text = json.dumps(config.model_dump(mode="json"))
    assert TrialConfig.model_validate(json.loads(text)) == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subsets": "clipfit"}, "subsets"),
        ({"stage": "test"}, "'search', 'confirm' or 'ablation'"),
        ({"seed": "first"}, "seed"),
        ({"training": {"momentun": 0.5}}, "training.momentun"),
    ],
)
def test_a_file_of_something_else_is_no_trials_configuration(
    changes: dict[str, object], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        trial(**changes)


def test_the_classes_of_all_parts_that_are_no_targets_are_the_trials() -> None:
    data = trial_data(protocol=Transfer(), class_names=("zero", "one"))
    assert data.own_target.class_names == ("zero", "one")
    target = Target(class_names=("banded", "dotted"), templates=("{}.",), images=Path())
    assert replace(data, targets={"dtd": target}).own_target == data.own_target


def test_the_types_of_a_trial_do_not_import_torch() -> None:
    code = "import sys, study.trial; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_trial_imports_nothing_that_decodes() -> None:
    code = "import sys, study.trial.run_trial; sys.exit('PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
