"""Objects of other packages: found by name alone, and never by a path in a configuration."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest

from study.config import plugins
from study.config.plugins import find_object
from study.errors import ConfigError

OWN: dict[str, Callable[[], Any]] = {"tpe": lambda: "ours"}


def mine() -> str:
    return "mine"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch):
    """Two entry points, one of which cannot be imported."""
    group = "clipfit_study.samplers"
    targets = {"sphere": "os.path:join", "broken": "no_such_module:x"}
    points = [metadata.EntryPoint(name, target, group) for name, target in targets.items()]
    found = {group: points}
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: found[group])


def test_a_name_is_ours_an_installed_packages_or_that_of_what_was_handed_over():
    assert find_object("samplers", "tpe", OWN) == "ours"
    assert find_object("samplers", "sphere", OWN) is __import__("os").path.join
    assert find_object("samplers", "mine", OWN, mine) is mine


def test_an_unknown_name_is_told_with_what_is_allowed():
    with pytest.raises(ConfigError, match=r"'tpa' is unknown \(did you mean 'tpe'\?\); allowed"):
        find_object("samplers", "tpa", OWN)
    with pytest.raises(ConfigError, match="allowed are tpe, sphere, broken"):
        find_object("samplers", "study.search.samplers:tpe", OWN)


def test_what_does_not_load_is_told():
    with pytest.raises(ConfigError, match="'broken' of an installed package does not load"):
        find_object("samplers", "broken", OWN)


def test_what_is_handed_over_must_have_the_configured_name():
    with pytest.raises(ConfigError, match="'tpe' is named, but 'mine' of the samplers"):
        find_object("samplers", "tpe", OWN, mine)
