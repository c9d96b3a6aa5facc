"""What was sent to MLflow and never arrived is found and sent again, or named.

A proxy that answers ``{}`` to what it does not pass on is believed until the runs are looked at.
"""

import pytest

from study.tracking.mlflow import sync as sync_module
from tests.study_writer import EPOCHS, MakeStudy
from tests.tracking.mlflow.records import assert_whole, started, sync

from .proxy import Proxy

LIE = "200 {}"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sync_module, "RETRY_SECONDS", 0.1)


def test_epochs_that_were_swallowed_between_others_are_sent_again(proxy: Proxy, make: MakeStudy):
    study = make("between")
    config = study.trial(0)
    for epoch in range(1, EPOCHS + 1):
        if epoch == 2:
            proxy.fail(LIE, where="log-batch")
        study.report(config, epoch)
        tracker = started(study, proxy.uri)
        assert tracker.close(finished=False).missing == ""
        proxy.mend()
    study.end(config)
    study.conclude()
    assert sync(study, proxy.uri) == 1
    assert_whole(proxy.uri, study, 1)
