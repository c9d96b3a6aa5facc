"""What of the driver's environment is handed to workers by name, and so stands in Ray's logs."""

import pytest
from ray.tune.execution.class_cache import _ActorClassCache

from study.search.trainable import ClipFitTrainable


def test_no_key_of_a_cloud_is_handed_to_workers(monkeypatch: pytest.MonkeyPatch):
    import study.search.driver  # noqa: F401

    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name in (*names, "HF_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "pl4nted")
    actor = _ActorClassCache().get(ClipFitTrainable)
    assert "PL_DISABLE_FORK" in str(actor._default_options["runtime_env"])
    assert "pl4nted" not in str(actor._default_options["runtime_env"])
