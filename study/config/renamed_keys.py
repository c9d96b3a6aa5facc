"""The keys of release 1.0.0 that have another name now, or none."""

from collections.abc import Iterator, Mapping
from typing import Any

from study.errors import Fault

BASELINE = "search.baselines.LABEL."
"""The beginning of the keys of each baseline."""
RENAMED = {
    "confirm.runners_up": "test.runners_up",
    "confirm.seeds": "test.seeds",
    "refit.images": "final.images",
    f"{BASELINE}peer": f"{BASELINE}method",
    "search.peer_trials": "search.method_trials",
    "search.space.heads": "search.heads",
    "tracking.trackers": "tracking.tracker",
}
GONE = {
    "ablation.base_from",
    "ablation.extend",
    "ablation.reuse",
    "confirm.strength",
    "data.other",
    "refit.average",
    "refit.calibrate",
    "refit.unknown_check",
    f"{BASELINE}calibration",
    f"{BASELINE}head",
    f"{BASELINE}head_lr",
    f"{BASELINE}head_steps",
    f"{BASELINE}optimizer",
    f"{BASELINE}strength",
    f"{BASELINE}weight_decay",
    "search.patience",
    "search.space.neighbours",
    "search.space.whole",
    "search.tuned_share",
    "search.warm_start",
    "training.warmup_lr",
}


def find_renamed(key: str, value: Any) -> Iterator[Fault]:
    """Yield a fault for each key of release 1.0.0 at an unknown key, or in an unknown section."""
    name = key
    if key.startswith("search.baselines."):
        name = BASELINE + key.rpartition(".")[2]
    if name in RENAMED:
        yield Fault(key, f"was renamed in 2.0.0: {RENAMED[name]}")
    elif name in GONE:
        yield Fault(key, "was removed in 2.0.0; CHANGELOG.md names what replaces it")
    elif isinstance(value, Mapping):
        for inner, inner_value in value.items():
            yield from find_renamed(f"{key}.{inner}", inner_value)
