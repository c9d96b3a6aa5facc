"""Sound baselines to begin from, and the keys of a configuration that are at fault."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.errors import FaultsError
from study.protocols import find_protocol
from study.storage.result_folder import JsonObject
from tests.settings import FEW


def faulty_keys(values: JsonObject) -> list[str]:
    """Return the keys at fault in a configuration."""
    with pytest.raises(FaultsError) as caught:
        build_config(values, "the file")
    return [fault.key for fault in caught.value.faults]


def baselines(**more: Any) -> JsonObject:
    """The entries for the baselines that must be there and more, and no others."""
    given = {"zero-shot": {"subset": "none"}, "clipfit": clipfit(), **more}
    return {**given, **{label: None for label in FEW if label not in given}}


def clipfit(**changes: Any) -> JsonObject:
    """A sound baseline."""
    rates = {"bias": 0.01, "ln": 0.01}
    return {"subset": "clipfit", "rates": rates, "distill_weight": 8, **changes}


def protocol_faults(values: JsonObject) -> list[str]:
    """Return the keys at fault that depend on the protocol; there must be no others."""
    config = build_config(values, "the file")
    return [fault.key for fault in find_protocol(config.protocol).find_config_faults(config)]
