"""Sound baselines to begin from, and the faults that a configuration is refused with."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.errors import ConfigError


def faults(values: dict[str, Any]) -> list[str]:
    """The lines that tell what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        build_config(values, "the file")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"the file has {len(lines)} fault")
    return [line.strip() for line in lines]


def baselines(**more: Any) -> dict[str, Any]:
    """The baselines that must be there, and more."""
    return {"zero-shot": {"subset": "none"}, "clipfit": clipfit(), **more}


def clipfit(**changes: Any) -> dict[str, Any]:
    """A sound baseline."""
    rates = {"bias": 0.01, "ln": 0.01}
    return {"subset": "clipfit", "rates": rates, "distill_weight": 8, **changes}
