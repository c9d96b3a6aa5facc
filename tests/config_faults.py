"""Sound baselines to begin from, and the faults that a configuration is refused with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.config.loading import build_config, load_config
from study.errors import ConfigError
from study.protocols import find_protocol, find_protocol_faults
from study.storage.ledger_files import JsonObject
from tests.settings import FEW

FAULTS = yaml.safe_load((Path(__file__).parent / "config" / "faults.yaml").read_text())
"""The values, path and words of faults, by the module that finds them."""


def faults(values: JsonObject) -> list[str]:
    """The lines that tell what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        build_config(values, "the file")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"the file has {len(lines)} fault")
    return [line.strip() for line in lines]


def told_of(file: Path, *overrides: str) -> str:
    """Return what is told of a faulty file with overrides."""
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    return str(caught.value)


def check_faults(module: str) -> Callable[..., None]:
    """Return the test that each fault of a module is told with its path and what is allowed."""

    @pytest.mark.parametrize("values, path, told", FAULTS[module])
    def check(values: JsonObject, path: str, told: list[str]):
        (fault,) = faults(values)
        assert fault.startswith(f"{path}: ")
        for part in told:
            assert part in fault

    return check


def baselines(**more: Any) -> JsonObject:
    """The entries for the baselines that must be there and more, and no others."""
    given = {"zero-shot": {"subset": "none"}, "clipfit": clipfit(), **more}
    return {**given, **{label: None for label in FEW if label not in given}}


def clipfit(**changes: Any) -> JsonObject:
    """A sound baseline."""
    rates = {"bias": 0.01, "ln": 0.01}
    return {"subset": "clipfit", "rates": rates, "distill_weight": 8, **changes}


def protocol_faults(values: JsonObject) -> list[str]:
    """The faults of a configuration that depend on its protocol; there must be no others."""
    config = build_config(values, "the file")
    return [str(fault) for fault in find_protocol_faults(config, find_protocol(config.protocol))]
