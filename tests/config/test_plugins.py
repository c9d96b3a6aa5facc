"""Objects of other packages: found by name alone, and never by a path in a configuration."""

import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest

from study.config import plugins
from study.config.plugins import find_object
from study.errors import ConfigError

OWN: dict[str, Callable[[], Any]] = {"tpe": lambda: "ours"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch):
    """Two entry points, one of which cannot be imported."""
    group = "clipfit_study.samplers"
    targets = {"sphere": "os.path:join", "broken": "no_such_module:x"}
    points = [metadata.EntryPoint(name, target, group) for name, target in targets.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: {group: points}[group])


def test_a_name_is_ours_or_an_installed_packages():
    assert find_object("samplers", "tpe", OWN) == "ours"
    assert find_object("samplers", "sphere", OWN) is os.path.join


@pytest.mark.parametrize(
    "name, message",
    [
        ("tpa", r"did you mean 'tpe'\?\); expected one of tpe, sphere, broken"),
        ("study.search.samplers:tpe", "is unknown"),
        ("broken", "'broken' cannot be loaded from its package"),
    ],
)
def test_a_name_that_leads_to_no_object_is_refused(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        find_object("samplers", name, OWN)
