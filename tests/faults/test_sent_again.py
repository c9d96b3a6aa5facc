"""What MLflow was told and never heard of is found and sent again, or named.

A proxy that answers ``{}`` to what it does not pass on is believed until the runs are looked at.
"""

import pytest
from mlflow import MlflowClient

from study.errors import TrackingError
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow.mirror import sync_to_mlflow
from tests.written_study import EPOCHS, MakeStudy, assert_whole, runs, started

from .proxy import Proxy

LIE = "200 {}"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.1)


def test_epochs_that_were_swallowed_between_others_are_sent_again(proxy: Proxy, make: MakeStudy):
    study = make("between")
    config = study.trial(0)
    for epoch in range(1, EPOCHS + 1):
        if epoch == 2:
            proxy.fail(LIE, where="log-batch")
        study.report(config, epoch)
        tracker = started(study, proxy.uri)
        assert tracker.close(finished=False) == {}
        proxy.mend()
    study.end(config)
    study.conclude()
    assert sync_to_mlflow(study.study, proxy.uri) == (1, 1)
    assert_whole(proxy.uri, study, 1)


def test_what_is_swallowed_while_it_is_sent_again_is_named(proxy: Proxy, make: MakeStudy):
    study = make("liar")
    study.whole(0)
    study.whole(1)
    study.conclude()
    sync_to_mlflow(study.study, proxy.uri)
    MlflowClient(proxy.uri).delete_run(runs(proxy.uri, study)["search-0001"].info.run_id)
    proxy.judge = lambda path, body: LIE if "delta" in path else ""
    lacks = r"lacks 1 run:\n  search-0001: its run lacks delta.safetensors"
    with pytest.raises(TrackingError, match=lacks):
        sync_to_mlflow(study.study, proxy.uri)
    proxy.mend()
    assert sync_to_mlflow(study.study, proxy.uri) == (2, 1)
    assert_whole(proxy.uri, study, 2)
