"""The keys of release 1.0.0 that have another name now, or none."""

from collections.abc import Iterator, Mapping
from typing import Any

from study.errors import Fault

RENAMED = {
    "confirm.runners_up": "test.runners_up",
    "confirm.seeds": "test.seeds",
    "refit.images": "final.images",
    "search.baselines.LABEL.peer": "search.baselines.LABEL.method",
    "search.peer_trials": "search.method_trials",
    "search.space.heads": "search.heads",
    "tracking.trackers": "tracking.tracker",
}
"""The new names by the old ones; LABEL stands for any label."""
GONE = (
    "ablation.base_from",
    "ablation.extend",
    "ablation.reuse",
    "confirm.strength",
    "data.other",
    "refit.average",
    "refit.calibrate",
    "refit.unknown_check",
    "search.baselines.LABEL.calibration",
    "search.baselines.LABEL.head",
    "search.baselines.LABEL.head_lr",
    "search.baselines.LABEL.head_steps",
    "search.baselines.LABEL.optimizer",
    "search.baselines.LABEL.strength",
    "search.baselines.LABEL.weight_decay",
    "search.patience",
    "search.space.neighbours",
    "search.space.whole",
    "search.tuned_share",
    "search.warm_start",
    "training.warmup_lr",
)


def find_renamed(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each key of release 1.0.0 among the values of a configuration."""
    for old, new in RENAMED.items():
        for key in _keys_like(old, values):
            yield Fault(key, f"was renamed in 2.0.0; use {new}")
    for old in GONE:
        for key in _keys_like(old, values):
            yield Fault(key, "was removed in 2.0.0; CHANGELOG.md lists the replacement")


def _keys_like(key: str, values: Any) -> Iterator[str]:
    """Yield the keys with dots that values have, of which LABEL in a key may be any part."""
    first, _, rest = key.partition(".")
    if not isinstance(values, Mapping):
        return
    for name in values if first == "LABEL" else {first} & values.keys():
        if not rest:
            yield name
        for inner in _keys_like(rest, values[name]):
            yield f"{name}.{inner}"
