"""What the models of a trial learn from and are judged on, batch by batch."""

import pytest
import torch
from small_trials import SETTINGS, TIMED, Prepare, outcome, trial

from study.method.evaluation import hmean
from study.method.model import Backbone
from study.trial import TrialData
from study.trial.run import run_trial


def test_the_confusion_counts_every_validation_image_once(
    holdout: TrialData, prepare: Prepare, backbone: Backbone
) -> None:
    for data in (holdout, prepare("folds").search()):
        (report,) = run_trial(trial(epochs=1), data, backbone)
        matrix = report.confusions["accuracy"].to_dense()
        evaluated = sum(len(part.records) for task in data.tasks for part in task.evaluations)
        assert int(matrix.sum()) == evaluated
        if len(data.tasks) == 1:
            right = int(matrix.diag().sum()) / evaluated
            assert right == pytest.approx(report.metrics["val_score"])


@pytest.mark.parametrize(
    ("subset", "rates"),
    [
        ("vision.ln", {"bias_lr": None}),
        ("vision.bias", {"ln_lr": None}),
        ("text.ln", {"bias_lr": None}),
        ("text.bias", {"ln_lr": None}),
        ("text.ln_final", {"bias_lr": None}),
    ],
)
def test_one_encoder_alone_can_be_tuned(
    holdout: TrialData, backbone: Backbone, subset: str, rates: dict[str, None]
) -> None:
    reports = list(run_trial(trial(subset=subset, **rates), holdout, backbone))
    tower = subset.partition(".")[0]
    (delta,) = reports[-1].deltas
    assert delta
    assert all(name.startswith(f"{tower}_model.") for name in delta)
    moved = reports[-1].metrics["distillation"]
    assert moved > 1e-7 if tower == "text" else moved == pytest.approx(0, abs=1e-6)


def test_the_test_split_is_evaluated_after_the_last_epoch_alone(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("holdout").confirm(1)
    reports = list(run_trial(trial(stage="confirm"), data, backbone))
    assert [any("test" in name for name in r.metrics) for r in reports] == [0, 0, 0, 1]
    assert not any("val" in name for r in reports for name in r.metrics)
    assert [bool(r.confusions) for r in reports] == [0, 0, 0, 1]
    assert int(reports[-1].confusions["accuracy"].sum()) == len(
        data.tasks[0].evaluations[0].records
    )


def test_a_search_sees_no_test_image(prepare: Prepare) -> None:
    for setting in SETTINGS:
        preparer = prepare(setting)
        test = {record.path for record in preparer.study.dataset().test}
        for task in preparer.search().tasks:
            seen = {r.path for part in (task.train, *task.evaluations) for r in part.records}
            assert seen
            assert not seen & test


def test_confirmations_train_on_the_seeds_own_shots(prepare: Prepare) -> None:
    first, second = (prepare("holdout").confirm(seed) for seed in (1, 2))
    assert first.digest != second.digest
    assert first.tasks[0].evaluations == second.tasks[0].evaluations
    assert first.tasks[0].train == prepare("holdout").search().tasks[0].train


def test_base_and_new_are_scored_apart_on_test(prepare: Prepare, backbone: Backbone) -> None:
    data = prepare("class_folds").confirm(1)
    (report,) = run_trial(trial(epochs=1), data, backbone)
    base, new = report.metrics["test_base"], report.metrics["test_new"]
    assert report.metrics["test_score"] == report.metrics["test_hmean"] == hmean(base, new)
    of_base, of_new = (report.confusions[part].to_dense() for part in ("base", "new"))
    assert of_base[18:].sum() == of_new[:18].sum() == 0


@pytest.mark.parametrize("batch_size", [7, 64])
def test_batches_that_do_not_divide_the_images_still_train(
    holdout: TrialData, backbone: Backbone, batch_size: int
) -> None:
    config = trial(epochs=1, training={"batch_size": batch_size, "eval_batch_size": 3})
    (report,) = run_trial(config, holdout, backbone)
    whole = trial(epochs=1, training={"batch_size": batch_size})
    (same,) = run_trial(whole, holdout, backbone)
    assert outcome(report) == outcome(same)


@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds"])
def test_a_trial_whose_batches_pass_in_parts_is_the_same_up_to_rounding(
    prepare: Prepare, backbone: Backbone, setting: str
) -> None:
    data = prepare(setting).search()
    whole = list(run_trial(trial(), data, backbone))
    parts = list(run_trial(trial(), data, backbone, micro_batch=3))
    for report, same in zip(parts, whole, strict=True):
        metrics = {k: v for k, v in report.metrics.items() if k not in TIMED}
        assert metrics.pop("micro_batch") == 3
        expected = {k: v for k, v in same.metrics.items() if k not in TIMED}
        assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-5)
        for delta, other in zip(report.deltas, same.deltas, strict=True):
            for name, tensor in delta.items():
                torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-3)
