"""A trial as an iterator: the seam between training and whoever schedules it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.method.evaluation import hmean
from study.method.model import Backbone, FewShotClassifier, load_backbone
from study.method.subsets import parse
from study.method.training import NonFiniteLossError
from study.storage.ledger import StudyFolder
from study.trial import EpochReport, TrialConfig, TrialData
from study.trial.image_activations import clear_cache as forget_images
from study.trial.prepare import Preparer
from study.trial.prompt_activations import clear_cache, zero_shot_text
from study.trial.run import mean, run_trial, score

EPOCHS = 4
TIMED = ("seconds", "images_per_second")
SETTINGS: dict[str, dict[str, Any]] = {
    "holdout": {
        "data": {"augment": False, "shots": 4},
        "search": {"selection": "holdout"},
    },
    "augmented": {
        "data": {"augment": True, "shots": 4},
        "search": {"selection": "holdout"},
    },
    "folds": {"data": {"augment": False, "shots": 2}, "search": {"selection": "folds"}},
    "class_folds": {
        "protocol": "base_to_new",
        "data": {"dataset": "glyphs", "augment": False, "shots": 2},
    },
    "base": {
        "protocol": "base_to_new",
        "data": {"augment": False, "shots": 4},
        "search": {"selection": "base"},
    },
}
Prepare = Callable[[str], Preparer]


@pytest.fixture(scope="module")
def backbone(tiny_backbone: Path) -> Backbone:
    return load_backbone(tiny_backbone)


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Prepare the data of a setting, decoding each image once."""
    storage = tmp_path_factory.mktemp("runs")

    def prepare(setting: str) -> Preparer:
        config, folder = study(setting, storage), StudyFolder(storage / setting)
        folder.claim()
        return Preparer(config, folder, image_size=16)

    return prepare


def study(setting: str, storage: Path) -> StudyConfig:
    return build_config({"storage": str(storage), **SETTINGS[setting]}, setting)


@pytest.fixture(scope="module")
def holdout(prepare: Prepare) -> TrialData:
    return prepare("holdout").search()


def trial(**changes: Any) -> TrialConfig:
    """CLIPFit at rates at which a random model moves."""
    values: dict[str, Any] = {
        "trial_id": "search-0001",
        "stage": "search",
        "arm": "baseline",
        "label": "clipfit",
        "number": 1,
        "seed": 1,
        "subset": "clipfit",
        "subset_key": "0",
        "trainable": 1,
        "bias_lr": 0.05,
        "ln_lr": 0.02,
        "distill_weight": 1.0,
        "epochs": EPOCHS,
        "split_hash": "0",
        "training": {"batch_size": 8},
    }
    return TrialConfig.model_validate(values | changes)


def outcome(report: EpochReport) -> dict[str, Any]:
    """What a report says, less what depends on the machine's mood."""
    return {
        "epoch": report.epoch,
        "done": report.done,
        **{name: value for name, value in report.metrics.items() if name not in TIMED},
        **{f"state {name}": digest(tensor) for name, tensor in report.state.items()},
        **{
            f"delta {index} {name}": digest(tensor)
            for index, delta in enumerate(report.deltas)
            for name, tensor in delta.items()
        },
        **{
            f"confusion {name}": tensor.to_dense().tolist()
            for name, tensor in report.confusions.items()
        },
    }


def digest(tensor: Tensor) -> str:
    contents = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(contents).hexdigest()[:12]


def outcomes(reports: Iterator[EpochReport]) -> list[dict[str, Any]]:
    return [outcome(report) for report in reports]


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("holdout", {"accuracy"}),
        ("augmented", {"accuracy"}),
        ("folds", {"accuracy"}),
        ("class_folds", {"base", "new", "hmean"}),
        ("base", {"base"}),
    ],
)
def test_every_epoch_is_reported_with_its_score(
    prepare: Prepare, backbone: Backbone, setting: str, parts: set[str]
) -> None:
    data = prepare(setting).search()
    reports = list(run_trial(trial(), data, backbone))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert [report.done for report in reports] == [False, False, False, True]
    for report in reports:
        assert report.metrics.keys() == {
            *("train_loss", "cross_entropy", "distillation", "bias_lr", "ln_lr"),
            *("images_per_second", "seconds", "val_score"),
            *(f"val_{part}" for part in parts),
        }
        assert all(0 <= report.metrics[f"val_{part}"] <= 1 for part in parts)
        assert len(report.deltas) == len(data.tasks)
    assert reports[0].metrics["bias_lr"] == 1e-5
    assert reports[1].metrics["bias_lr"] == 0.05
    assert reports[-1].state == {}
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]
    assert reports[-1].metrics["distillation"] > 0


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


@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds"])
def test_a_trial_repeats_to_the_bit(prepare: Prepare, backbone: Backbone, setting: str) -> None:
    data = prepare(setting).search()
    assert outcomes(run_trial(trial(), data, backbone)) == outcomes(
        run_trial(trial(), data, backbone)
    )


@pytest.mark.parametrize("change", [{"seed": 2}, {"bias_lr": 0.1}, {"distill_weight": 2.0}])
def test_what_distinguishes_trials_changes_the_result(
    holdout: TrialData, backbone: Backbone, change: dict[str, Any]
) -> None:
    first = outcomes(run_trial(trial(), holdout, backbone))
    assert outcomes(run_trial(trial(**change), holdout, backbone)) != first


def test_the_result_does_not_depend_on_what_ran_before(
    holdout: TrialData, backbone: Backbone
) -> None:
    alone = outcomes(run_trial(trial(), holdout, backbone))
    torch.manual_seed(99)
    other = trial(subset="bitfit", seed=7, training={"optimizer": "adamw", "batch_size": 4})
    first, second = run_trial(trial(), holdout, backbone), run_trial(other, holdout, backbone)
    interleaved = []
    for report in first:
        interleaved.append(outcome(report))
        next(second, None)
        torch.rand(7)
    assert interleaved == alone


def test_zero_shot_features_are_computed_once_for_all_trials_of_the_same_prompts(
    backbone: Backbone, tmp_path: Path
) -> None:
    prompts = (["a red cat", "a dog"], ["a bird"])
    ids = [backbone.tokenize(p) for p in prompts]
    features = zero_shot_text(backbone, ids, "float32", tmp_path)
    untouched = FewShotClassifier(backbone, parse("none"))
    for own, words in zip(features, prompts, strict=True):
        torch.testing.assert_close(own, untouched.encode_text(backbone.tokenize(words)))
    again = [backbone.tokenize(p) for p in prompts]
    assert zero_shot_text(backbone, again, "float32", tmp_path) is features
    assert zero_shot_text(backbone, ids[::-1], "float32", tmp_path) is not features
    assert not torch.equal(zero_shot_text(backbone, ids, "bfloat16", tmp_path)[0], features[0])


@pytest.mark.parametrize(
    ("subset", "at_once", "again"),
    [
        ("vision.ln", 1024, False),
        ("vision.ln", 3, False),
        ("clipfit", 1024, False),
        ("clipfit", 3, True),  # more than pass at once are encoded anew, where they change
    ],
)
def test_prompts_are_begun_once_for_all_trials_as_far_as_nothing_is_tuned(
    subset: str,
    at_once: int,
    again: bool,
    holdout: TrialData,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_all(holdout)
    monkeypatch.setattr("study.trial.task.PROMPTS_AT_ONCE", at_once)
    backbone = load_backbone(tiny_backbone)
    embedded: list[Tensor] = []
    backbone.clip.text_model.embeddings.token_embedding.register_forward_hook(
        lambda _, ids, __: embedded.append(ids)
    )
    first = outcomes(run_trial(trial(subset=subset), holdout, backbone))
    assert embedded
    embedded.clear()
    assert outcomes(run_trial(trial(subset=subset), holdout, backbone)) == first
    assert bool(embedded) == again


@pytest.mark.parametrize("subset", ["none", "text-bias", "vision.ln[-1]", "clipfit"])
def test_another_process_finds_the_features_of_encoders_in_which_nothing_is_tuned(
    subset: str, holdout: TrialData, tiny_backbone: Path
) -> None:
    forget_all(holdout)
    backbone = load_backbone(tiny_backbone)
    encoded: dict[str, int] = {"text": 0, "vision": 0}
    ends = {"text": backbone.clip.text_projection, "vision": backbone.clip.visual_projection}
    for name, layer in ends.items():
        layer.register_forward_pre_hook(lambda *_, name=name: encoded.update({name: 1}))
    tuned = trial(subset=subset, epochs=0 if subset == "none" else 2)
    first = outcomes(run_trial(tuned, holdout, backbone))
    assert encoded == {"text": 1, "vision": 1}
    for forget in (clear_cache, forget_images):
        forget()
    encoded.update(text=0, vision=0)
    assert outcomes(run_trial(tuned, holdout, backbone)) == first
    resolved = [t.name for t in FewShotClassifier(backbone, parse(subset)).tuned]
    assert encoded == {
        name: int(any(own.startswith(f"{name}_model") for own in resolved)) for name in encoded
    }


def forget_all(data: TrialData) -> None:
    """Forget what this process and those before it computed."""
    clear_cache()
    forget_images()
    for path in data.train_images.parent.glob("frozen-*"):
        path.unlink()


def test_global_randomness_is_left_alone(holdout: TrialData, backbone: Backbone) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(run_trial(trial(epochs=1), holdout, backbone))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("holdout", {}),
        ("holdout", {"training": {"optimizer": "adamw", "batch_size": 8}}),
        ("augmented", {"subset": "bitfit + ln"}),
        ("folds", {}),
        ("class_folds", {"training": {"optimizer": "adamw", "batch_size": 8}}),
    ],
)
def test_a_trial_goes_on_from_any_epoch_to_the_bit(
    prepare: Prepare, backbone: Backbone, setting: str, changes: Mapping[str, Any]
) -> None:
    data, config = prepare(setting).search(), trial(**changes)
    whole = list(run_trial(config, data, backbone))
    for report in whole[:-1]:
        kept = {name: tensor.clone() for name, tensor in report.state.items()}
        rest = run_trial(config, data, backbone, (report.epoch, kept))
        assert outcomes(rest) == [outcome(later) for later in whole[report.epoch :]]


def test_a_reported_state_does_not_change_afterwards(
    holdout: TrialData, backbone: Backbone
) -> None:
    reports = run_trial(trial(), holdout, backbone)
    first = next(reports)
    before = outcome(first)
    next(reports)
    assert outcome(first) == before


@pytest.mark.parametrize("subset", ["clipfit", "bitfit", "none"])
def test_the_backbone_stays_as_it_was(holdout: TrialData, backbone: Backbone, subset: str) -> None:
    before = {name: digest(p.detach()) for name, p in backbone.clip.state_dict().items()}
    list(run_trial(trial(subset=subset, epochs=EPOCHS * (subset != "none")), holdout, backbone))
    assert {name: digest(p) for name, p in backbone.clip.state_dict().items()} == before
    assert not any(p.requires_grad for p in backbone.clip.parameters())


def test_where_nothing_is_tuned_one_report_tells_the_zero_shot_score(
    holdout: TrialData, backbone: Backbone
) -> None:
    nothing = trial(subset="none", epochs=0, bias_lr=None, ln_lr=None)
    (report,) = run_trial(nothing, holdout, backbone)
    assert (report.epoch, report.done) == (0, True)
    assert report.metrics.keys() == {"val_accuracy", "val_score", "seconds"}
    assert report.deltas == ({},)
    warm = next(run_trial(trial(training={"warmup_lr": 0.0}), holdout, backbone))
    assert warm.metrics["val_score"] == report.metrics["val_score"]


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
        test = {record.path for record in preparer.dataset().test}
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


def test_a_trial_that_diverges_says_where(holdout: TrialData, backbone: Backbone) -> None:
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        list(run_trial(trial(ln_lr=1e30), holdout, backbone))


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


@pytest.mark.parametrize(
    ("parts", "protocol", "expected"),
    [
        ({"accuracy": 0.25}, "few_shot", {"accuracy": 0.25, "score": 0.25}),
        ({"base": 0.5}, "base_to_new", {"base": 0.5, "score": 0.5}),
        (
            {"base": 1.0, "new": 0.5},
            "base_to_new",
            {"base": 1.0, "new": 0.5, "hmean": 2 / 3, "score": 2 / 3},
        ),
        (
            {"base": 0.0, "new": 0.0},
            "base_to_new",
            {"base": 0.0, "new": 0.0, "hmean": 0.0, "score": 0.0},
        ),
        ({"accuracy": 0.25}, "transfer", {"accuracy": 0.25, "score": 0.25}),
        (
            {"accuracy": 1.0, "dtd": 0.5, "eurosat": 0.25},
            "transfer",
            {"source": 1.0, "dtd": 0.5, "eurosat": 0.25, "score": 0.375},
        ),
        ({"accuracy": 0.5}, "zero_shot", {"accuracy": 0.5, "score": 0.5}),
        (
            {"accuracy": 1.0, "dtd": 0.5},
            "zero_shot",
            {"source": 1.0, "dtd": 0.5, "score": 0.75},
        ),
    ],
)
def test_one_number_judges_a_trial(
    parts: dict[str, float], protocol: Any, expected: dict[str, float]
) -> None:
    assert score(parts, protocol) == pytest.approx(expected)


def test_equal_means_over_folds_are_equal_numbers() -> None:
    # Of 181 images right in 4 folds of 50 each.
    folds = [rest for rest in combinations_with_replacement(range(40, 51), 4) if sum(rest) == 181]
    assert {mean([right / 50 for right in fold]) for fold in folds} == {0.905}


def test_the_mean_over_folds_is_taken_before_the_harmonic_mean(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("class_folds").search()
    nothing = trial(subset="none", epochs=0)
    (whole,) = run_trial(nothing, data, backbone)
    singles = [
        next(run_trial(nothing, replace(data, tasks=(task,)), backbone)).metrics
        for task in data.tasks
    ]
    base, new = (sum(s[f"val_{part}"] for s in singles) / 3 for part in ("base", "new"))
    assert len({single["val_new"] for single in singles}) > 1
    assert whole.metrics["val_base"] == pytest.approx(base)
    assert whole.metrics["val_score"] == pytest.approx(hmean(base, new))
