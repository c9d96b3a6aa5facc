"""What ships: the average of the best, trained once more on the validation images too."""

import shutil
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.load_backbone import load_backbone
from study.method.delta import load_delta, without_head
from study.search.confirmation import validate_average
from study.search.refit import candidate_to_refit, run_refit
from study.selection.shipped import refit_trial_ids
from study.selection.validation import read_best_logits, read_validation
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import read_predictions
from study.trial.study import Study
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.tiny_study import TinyStudy, untimed


@pytest.fixture(scope="module")
def refitted(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStudy]:
    """A study that has come to its end, but for what is written then; its trials are run here."""
    tiny = TinyStudy(
        tmp_path_factory.mktemp("runs"),
        "refitted",
        tiny_backbone,
        search={
            "trials": 5,
            "selection": "folds",
            "folds": 2,
            "asha": None,
            "space": {"heads": ["text", "linear"]},
            "baselines": {
                "zero-shot": {"subset": "none"},
                "clipfit": {"subset": "clipfit", "rates": {"bias": 0.02, "ln": 0.02}},
            },
        },
        training={"epochs": 2, "batch_size": 8},
        confirm={"seeds": [1, 2], "runners_up": 0, "strength": 0.5},
        refit={"images": "labelled", "average": 2},
    )
    with trials_in_process():
        tiny.search()
        validate_average(tiny.study, tiny.data, [tiny.heard])
        tiny.confirm()
        refit(tiny)
        yield tiny


def refit(tiny: TinyStudy):
    study = Study(tiny.config, tiny.folder)
    run_refit(study, not_none(candidate_to_refit(study)), tiny.preparer, [tiny.heard])


def trials(tiny: TinyStudy, beginning: str) -> list[TrialFolder]:
    return [t for t in tiny.folder.trials() if t.trial_id.startswith(beginning)]


def test_all_trials_of_a_refit_are_known_by_their_ids(refitted: TinyStudy):
    study = Study(refitted.config, refitted.folder)
    ids = refit_trial_ids(study, not_none(candidate_to_refit(study)))
    begun = [*trials(refitted, "member-"), *trials(refitted, "refit-")]
    assert ids == {trial.trial_id for trial in begun}


def parameters(trial: TrialFolder) -> dict[str, Tensor]:
    return without_head(load_delta(trial.path / "delta.safetensors")[0])


@pytest.mark.parametrize("beginning", ["confirm-average-seed1", "confirm-average-seed2", "refit-"])
def test_an_average_has_the_mean_change_of_its_members_at_the_protocols_strength(
    refitted: TinyStudy, tiny_backbone: Path, beginning: str
):
    (trial,) = trials(refitted, beginning)
    initial = dict(load_backbone(tiny_backbone).clip.named_parameters())
    config = trial.read_config()
    members = [(m["settings"], refitted.folder.trial(m["trial_id"])) for m in config["members"]]
    assert len(members) == 2
    changes = [
        {name: (v - initial[name]) / s["strength"] for name, v in parameters(member).items()}
        for s, member in members
    ]
    averaged = parameters(trial)
    assert averaged.keys() == set().union(*changes)
    for name, value in averaged.items():
        nothing = torch.zeros_like(value)
        total = sum((change.get(name, nothing) for change in changes), nothing)
        torch.testing.assert_close(value, (initial[name] + 0.5 * total / 2).detach())


def test_members_learn_from_validation_images_too_and_read_no_test_image(
    refitted: TinyStudy,
):
    members = trials(refitted, "member-")
    assert len(members) == 2
    shots = refitted.preparer.shots(1)
    data = refitted.preparer.refit(tested=False)
    assert {*data.tasks[0].train.records} == {*shots.train, *shots.val}
    for member in members:
        assert not_none(member.read_end()).status == "finished"
        assert read_predictions(refitted.folder, member.trial_id) == []
        assert not any(name.startswith("test_") for name in member.read_reports()[-1])


def test_the_refit_is_tested_once_and_ships(refitted: TinyStudy, tmp_path: Path):
    (trial,) = trials(refitted, "refit-")
    (report,) = trial.read_reports()
    assert report["test_score"] > 0
    average = not_none(refitted.study.candidates())[-1]
    assert average.label == "average"
    assert trial.trial_id.endswith(str(average.source_trial).removeprefix("average-"))


def test_the_refit_has_the_known_images_of_the_folds(refitted: TinyStudy):
    (trial,) = trials(refitted, "refit-")
    average = not_none(refitted.study.candidates())[-1]
    validated = refitted.folder.trial(str(average.source_trial))
    tensors, _ = load_delta(trial.path / "delta.safetensors")
    logits = tensors["known.logits"].tolist()
    assert logits == pytest.approx(sorted(read_best_logits(validated).known), rel=1e-5)
    assert len(logits) == len(refitted.preparer.refit(tested=False).tasks[0].train.records)


def test_a_refit_goes_on_where_it_was(refitted: TinyStudy):
    gone = [trials(refitted, beginning)[-1] for beginning in ("refit-", "member-")]
    before = [(untimed(t), (t.path / "delta.safetensors").read_bytes()) for t in gone]
    kept = len(refitted.heard.events)
    for trial in gone:
        shutil.rmtree(trial.path)
    refit(refitted)
    assert before == [(untimed(t), (t.path / "delta.safetensors").read_bytes()) for t in gone]
    started = [name for what, name, _ in refitted.heard.events[kept:] if what == "started"]
    assert sorted(started) == sorted(trial.trial_id for trial in gone)


def test_foreign_images_are_of_classes_that_the_training_left_out(refitted: TinyStudy):
    checked = copy(refitted)
    section = refitted.config.refit.model_copy(update={"unknown_check": True})
    checked.config = refitted.config.model_copy(update={"refit": section})
    refit(checked)
    (trial,) = trials(checked, "refit-labelled-checked-")
    source = checked.folder.trial(trial.read_config()["foreign_from"])
    table = not_none(read_validation(source)).to_pandas()
    shots = checked.preparer.shots(1)
    left_out = table[table["part"] == "new"]["path"]
    assert sorted(left_out) == sorted(r.path for r in shots.train + shots.val)
    for _, images in table.groupby("fold"):
        is_new = images["part"] == "new"
        assert set(images[is_new]["label"]).isdisjoint(images[~is_new]["label"])
    assert "foreign.p_values" in load_delta(trial.path / "delta.safetensors")[0]
