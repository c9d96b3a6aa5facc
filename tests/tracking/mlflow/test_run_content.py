"""What MLflow shows of a trial is rounded, says each thing once, and is told in a line."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.trial_settings import TrialSettings
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import End
from study.tracking.mlflow.run_content import (
    describe_trial,
    description_tags,
    round_significant,
    run_name,
    trial_params,
    trial_points,
)

CASES = yaml.safe_load(Path(__file__).with_name("run_content.yaml").read_text())
CLIPFIT = {
    "subset": "text.mlp.fc2.bias + vision.ln",
    "rates": {"bias": 0.003068605962732783, "ln": 0.08404840643566887},
    "distill_weight": 14.632969561555587,
}


LONG = "text.ln1 + text.ln2 + text.ln_final + text.attn.bias"


def config(stage: str = "search", trainable: int = 1, **settings: Any) -> JsonObject:
    """What a trial's folder holds of its configuration, as far as it is read."""
    own = TrialSettings.model_validate(CLIPFIT | settings)
    told = {"stage": stage, "seed": 3, "number": 7, "label": "trial 7", "trainable": trainable}
    return told | {"settings": own.model_dump(mode="json")}


@pytest.mark.parametrize("value, digits, shown", CASES["numbers"])
def test_numbers_have_few_digits_and_whole_ones_all(value: Any, digits: int, shown: Any):
    assert round_significant(value, digits) == shown
    assert type(round_significant(value, digits)) is type(shown)


def test_what_is_no_finite_number_stays_so():
    assert math.isnan(round_significant(math.nan, 4))
    assert round_significant(-math.inf, 4) == -math.inf


def test_parameters_have_four_significant_digits():
    expected = {"bias_lr": "0.003069", "ln_lr": "0.08405", "distill_weight": "14.63", "seed": "3"}
    assert trial_params(config()).items() >= expected.items()
    method = {"method": "lora", "lr": 0.00123456, "alpha": 7.77777}
    shown = trial_params(config(method=method, subset="none", rates={}, distill_weight=0.0))
    assert shown.items() >= {"method_lr": "0.001235", "method_alpha": "7.778"}.items()


def test_metrics_have_five_digits_none_is_there_twice_and_the_score_is_the_first():
    report = {
        "epoch": 1,
        "seconds": 0.123456789,
        "ended_at": 7.1234,
        "train_loss": 1.3599354028701782,
    }
    report |= {"val_hmean": 0.2 / 3, "val_base": 0.5 / 3, "val_score": 0.2 / 3}
    later = {**report, "epoch": 2, "ended_at": 9.0, "val_score": 0.3 / 3}
    points = trial_points(config(trainable=9), [report, later], None, started=1000)
    assert [(point.key, point.step, point.value) for point in points] == [
        ("val_score", 1, 0.066667),
        ("val_score", 2, 0.1),
        ("train_loss", 1, 1.3599),
        ("val_base", 1, 0.16667),
        ("train_loss", 2, 1.3599),
        ("val_base", 2, 0.16667),
        ("trainable", 0, 9),
    ]
    assert [point.timestamp for point in points[:2]] == [7123, 9000]


def test_a_trial_of_the_search_begins_with_its_first_score_and_others_with_their_first_epoch():
    unscored, scored = {"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "val_score": 0.5}
    tested = config("test")
    for given, reports, sent in (
        (config(), [unscored], False),
        (config(), [unscored, scored], True),
        (tested, [], False),
        (tested, [unscored], True),
    ):
        assert bool(trial_points(given, reports, None, started=1000)) == sent


@pytest.mark.parametrize(
    "own, settings, name",
    [
        ({}, {}, "text.mlp.fc2.bias + vision.ln @ 0.0031, 0.084"),
        ({"label": "clipfit"}, {}, "clipfit"),
        (
            {"label": "lora 7"},
            {"subset": "none", "rates": {}, "method": {"method": "lora", "lr": 0.001}},
            "lora @ 0.001",
        ),
        (
            {},
            {"subset": LONG},
            f"{LONG[:39]}… @ 0.0031, 0.084",
        ),
        ({"stage": "test", "label": "best"}, {}, "best · seed 3"),
        ({"stage": "final", "label": "best"}, {}, "best · final model"),
    ],
)
def test_a_proposed_trial_is_named_by_what_it_tunes_and_others_by_their_labels(
    own: dict[str, str], settings: dict[str, Any], name: str
):
    given = config(**settings) | own
    assert run_name(given, str(given["label"])) == name


WHAT = "`text.mlp.fc2.bias + vision.ln`, bias lr 0.003069, ln lr 0.08405, λ 14.63"


@pytest.mark.parametrize("case", CASES["trials"].values(), ids=CASES["trials"])
def test_a_trial_is_told_in_one_line(case: JsonObject):
    given = config(case.get("stage", "search"), **case.get("settings", {}))
    end = End(**case["end"]) if "end" in case else None
    assert describe_trial(given, case.get("reports", []), end) == case["line"]


def test_a_failure_has_its_error_below_the_line_and_why_it_ended_in_tags():
    end = End("failed", 1, 1.0, reason="out of memory", error="Traceback\nMemoryError: *all*")
    tags = description_tags(config(), [], end)
    assert tags == {
        "ended": "failed",
        "stop_reason": "out of memory",
        "error": "Traceback\nMemoryError: *all*",
        "mlflow.note.content": f"failed after 1 epoch, {WHAT}\n\n"
        "```\nTraceback\nMemoryError: *all*\n```",
    }
    assert description_tags(config(), [], End("finished", 1, 1.0)).keys() == {
        *("ended", "stop_reason", "mlflow.note.content"),
    }


@pytest.mark.parametrize("key", ["error", "stop_reason"])
def test_no_tag_of_an_end_has_a_credential_or_is_longer_than_mlflow_allows(key: str):
    url = "https://user:secret@host/data"
    cut = "x" * 9000 + url + "x" * (3995 - len("secret@host/data"))  # between "://" and "@"
    for text in (f"no answer from {url}", cut):
        end = replace(End("failed", 1, 1.0), error=text, reason=text)
        tag = description_tags(config(), [], end)[key]
        assert "secret" not in tag
        assert "@host" in tag
        assert len(tag) <= 4000
