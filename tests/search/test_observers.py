"""Observers of trials: one at fault costs the others nothing."""

from unittest.mock import create_autospec

import pytest

from study.search.observers import notify
from tests.real_study import Listener


def test_an_observer_that_raises_ends_nothing_and_the_next_one_hears(
    caplog: pytest.LogCaptureFixture,
):
    faulty, hears = (create_autospec(Listener, instance=True) for _ in range(2))
    faulty.trial_ended.side_effect = ValueError("a mistake of another package")
    notify([faulty, hears], lambda observer: observer.trial_ended(1, 2, 3))  # type: ignore[arg-type]
    hears.trial_ended.assert_called_once_with(1, 2, 3)
    assert "failed; the study goes on" in caplog.text
