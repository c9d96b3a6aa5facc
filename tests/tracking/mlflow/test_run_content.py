"""What MLflow shows of a trial is rounded and says each thing once."""

from typing import Any

import pytest

from study.config.trial_settings import TrialSettings
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import End
from study.tracking.mlflow.run_content import (
    LONGEST_TEXT,
    end_tags,
    run_name,
    trial_params,
    trial_points,
)

CLIPFIT = {
    "subset": "text.mlp.fc2.bias + vision.ln",
    "rates": {"bias": 0.003068605962732783, "ln": 0.08404840643566887},
    "distill_weight": 14.632969561555587,
}
LORA: dict[str, Any] = {"subset": "none", "rates": {}, "distill_weight": 0.0}


def config(stage: str = "search", trainable: int = 1, **settings: Any) -> JsonObject:
    """What is read of the configuration in a trial's folder."""
    own = TrialSettings.model_validate(CLIPFIT | settings)
    shared = {"stage": stage, "seed": 3, "number": 7, "label": "trial 7", "trainable": trainable}
    return shared | {"settings": own.model_dump(mode="json")}


def test_parameters_are_those_by_which_a_trial_is_repeated_rounded():
    expected = {"bias_lr": "0.0030686", "ln_lr": "0.084048", "distill_weight": "14.633"}
    assert trial_params(config()).items() >= {**expected, "seed": "3"}.items()
    method = {"method": "lora", "lr": 0.00123456, "alpha": 7.77777}
    shown = trial_params(config(**LORA, method=method))
    assert shown.items() >= {"method_lr": "0.0012346", "method_alpha": "7.7778"}.items()


def test_metrics_are_rounded_and_none_is_there_twice():
    report = {"epoch": 1, "seconds": 0.123, "ended_at": 7.1234, "train_loss": 1.3599354028701782}
    report |= {"val_hmean": 0.2 / 3, "val_base": 0.5 / 3, "val_score": 0.2 / 3}
    points = trial_points(config(trainable=9), [report], None, started=1000)
    assert [(point.key, point.step, point.value, point.timestamp) for point in points] == [
        *(("trainable", 0, 9, 1000), ("train_loss", 1, 1.3599, 7123)),
        *(("val_base", 1, 0.16667, 7123), ("val_score", 1, 0.066667, 7123)),
    ]


@pytest.mark.parametrize(
    "own, settings, name",
    [
        ({}, {}, "text.mlp.fc2.bias + vision.ln @ 0.0031, 0.084"),
        ({"label": "clipfit"}, {}, "clipfit"),
        ({"label": "lora 7"}, LORA | {"method": {"method": "lora", "lr": 0.001}}, "lora @ 0.001"),
        ({"stage": "test", "label": "best"}, {}, "best · seed 3"),
        ({"stage": "final", "label": "best"}, {}, "best · final model"),
    ],
)
def test_a_proposed_trial_is_named_by_what_it_tunes_and_others_by_their_labels(
    own: dict[str, str], settings: dict[str, Any], name: str
):
    given = config(**settings) | own
    assert run_name(given, str(given["label"])) == name
    assert run_name(given, str(given["label"]), best=True) == f"★ {name}"


def test_tags_of_an_end_say_how_and_why_without_credentials_and_within_mlflows_limit():
    assert end_tags(End("finished", 1, 1.0)) == {"ended": "finished", "stop_reason": "finished"}
    url = "https://user:secret@host/data"
    rest = "x" * (LONGEST_TEXT - 5 - len("secret@host/data"))  # the cut is between "://" and "@"
    cut = "x" * 9000 + url + rest
    for text in (f"no answer from {url}", cut):
        tags = end_tags(End("failed", 1, 1.0, error=text, reason=text))
        assert tags["ended"] == "failed"
        for tag in (tags["error"], tags["stop_reason"]):
            assert "secret" not in tag
            assert "@host" in tag
            assert len(tag) <= LONGEST_TEXT
