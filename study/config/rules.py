"""The rules between the values of a configuration.

The schema validates each value alone. A broken rule is a fault of a key, which says what is wrong
with it and what is allowed.
"""

import re
from collections.abc import Iterator

from study.config.labels import (
    BASELINE,
    OPEN,
    PUBLISHED,
    RANKS,
    SCORES,
    TUNED,
    WITH_DELTA,
    ZERO_SHOT,
)
from study.config.schema import AblationConfig, DataConfig, StudyConfig
from study.config.search_section import SearchConfig
from study.data.shots import ALL
from study.errors import SECRET_OF_A_QUERY, Fault
from study.method.subsets import parse


def broken_rules(config: StudyConfig) -> list[Fault]:
    """Return the rules that a configuration breaks.

    Rules that depend on the protocol stand in `study.protocols`.
    """
    faults = [*_broken_by_data(config.data), *_broken_by_search(config.search)]
    for key, values in (
        ("search.heads", config.search.heads),
        ("search.space.sites", config.search.space.sites),
        ("test.seeds", config.test.seeds),
    ):
        if len(set(values)) < len(values):
            faults.append(Fault(key, f"{list(values)} contains a value twice"))
    if config.ablation:
        faults += _broken_by_ablation(config.ablation)
    uri = config.tracking.uri or ""
    if re.search(r"://[^\s]*@", uri) or SECRET_OF_A_QUERY.search(uri):
        message = (
            "contains a user name or password; set MLFLOW_TRACKING_URI instead, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
        faults.append(Fault("tracking.uri", message))
    return faults


def _broken_by_data(data: DataConfig) -> Iterator[Fault]:
    if data.targets_root and not data.targets:
        yield Fault("data.targets_root", "has no effect, because data.targets is empty")
    datasets = (data.dataset, *data.targets)
    for target in dict.fromkeys(data.targets):
        if datasets.count(target) > 1:
            yield Fault("data.targets", f"'{target}' is the source, or is listed twice")
    for metric in (*SCORES, "source"):
        if metric in data.targets:
            yield Fault("data.targets", f"'{metric}' is the name of a metric; use another name")
    if data.shots_from and data.val_shots is not None:
        yield Fault(
            "data.val_shots", "has no effect with data.shots_from, which lists validation images"
        )
    if data.shots == ALL and data.shots_from is not None:
        yield Fault("data.shots", "is 'all'; expected a number, because data.shots_from is set")
    if data.shots == ALL and data.short != "fail":
        yield Fault("data.short", "has no effect with data.shots=all")


def _broken_by_search(search: SearchConfig) -> Iterator[Fault]:
    sites = search.space.sites
    if not sites:
        yield Fault("search.space.sites", "is empty; expected one site or more")
    for site in sites:
        signs_and_layers = [(sign, term.layers) for sign, term in parse(site).terms]
        if signs_and_layers != [(1, None)]:
            yield Fault(
                "search.space.sites", f"'{site}' is not allowed; expected one site without layers"
            )
    if not search.fixed_baselines:
        yield Fault("search.baselines", "is empty; expected one or more")
    for label in search.baselines:
        if label in (BASELINE, TUNED, OPEN, *RANKS, WITH_DELTA):
            yield Fault(f"search.baselines.{label}", "is a reserved name; use another name")


def _broken_by_ablation(ablation: AblationConfig) -> Iterator[Fault]:
    design = ablation.design
    if (design == "grid") != bool(ablation.subsets):
        yield Fault("ablation.subsets", "must be set with design grid, and only with it")
    if "base" in ablation.subsets:
        yield Fault("ablation.subsets", "'base' is reserved for the base; use another name")
    if ablation.sites and design not in ("only_one", "leave_one_out"):
        yield Fault(
            "ablation.sites", f"has no effect with {design}, only with only_one and leave_one_out"
        )
    if ablation.windows != "sliding" and design != "layers":
        yield Fault("ablation.windows", f"has no effect with {design}, only with layers")
    if ablation.width != 1 and (design != "layers" or ablation.windows != "sliding"):
        yield Fault("ablation.width", "has an effect only with design layers and sliding windows")


def broken_search_rules(config: StudyConfig) -> Iterator[Fault]:
    """Yield the rules that the configuration of a study with a search breaks.

    Nothing is yielded for a study without baselines, which `broken_rules` reports.
    """
    if not config.search.fixed_baselines:
        return
    asha = config.search.asha
    epochs = config.training.epochs
    if asha and asha.grace_period > epochs:
        yield Fault(
            "search.asha.grace_period",
            f"{asha.grace_period} exceeds training.epochs ({epochs}); lower it, or set "
            "search.asha: null to stop no trial early",
        )
    for label in (ZERO_SHOT, PUBLISHED):
        if label not in config.search.fixed_baselines:
            yield Fault("search.baselines", f"lacks '{label}', which results are compared with")
    trials, baselines = config.search.trials, config.search.counted_baselines
    if trials < 2 * baselines:
        yield Fault(
            "search.trials",
            f"{trials} is too small for a search with {baselines} baselines; "
            f"expected {2 * baselines} or more, or 0 for no search",
        )
