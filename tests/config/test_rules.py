"""The rules between values: each is reported with its path, in one order, and all together."""

import re

import pytest

from study.config.labels import BASELINE, LINEAR, OPEN, RANKS, TUNED, WITH_DELTA
from study.config.loading import build_config
from study.config.rules import broken_search_rules
from study.config.value_types import LABEL
from study.errors import ConfigError
from tests.config_faults import baselines, clipfit, faulty_keys


def test_no_two_things_share_a_label_and_each_can_name_a_folder():
    labels = (*RANKS, WITH_DELTA, BASELINE, TUNED, OPEN, LINEAR)
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(LABEL, label) for label in labels)


@pytest.mark.parametrize(
    "uri",
    ["http://me:a/s3cret@host", "https://s3cret@host", "postgresql://host/db?password=s3cret"],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(uri: str):
    with pytest.raises(ConfigError, match=r"tracking.uri: .*MLFLOW_TRACKING_PASSWORD") as caught:
        build_config({"tracking": {"uri": uri}}, "the file")
    assert "s3cret" not in str(caught.value)


def test_broken_rules_are_reported_in_the_order_of_the_file():
    values = {
        "data": {"targets_root": "x"},
        "search": {
            "space": {"sites": ["text.ln1[0:2]", "text.ln1[0:2]"]},
            "baselines": baselines(**{TUNED: clipfit(), "best": clipfit()}),
        },
        "test": {"seeds": [1, 1]},
        "ablation": {"design": "grid"},
    }
    assert faulty_keys(values) == [
        "data.targets_root",
        *["search.space.sites"] * 2,
        *(f"search.baselines.{TUNED}", "search.baselines.best"),
        *("search.space.sites", "test.seeds", "ablation.subsets"),
    ]


def test_a_search_is_refused_without_its_references_and_enough_trials():
    search = {
        "trials": 5,
        "asha": {"grace_period": 9},
        "baselines": baselines(mine=clipfit(), yours=clipfit(), **{"zero-shot": None}),
    }
    config = build_config({"search": search, "training": {"epochs": 4}}, "here")
    assert [str(fault).partition(", ")[0] for fault in broken_search_rules(config)] == [
        "search.asha.grace_period: 9 exceeds training.epochs (4); lower it",
        "search.baselines: lacks 'zero-shot'",
        "search.trials: 5 is too small for a search with 3 baselines; expected 6 or more",
    ]
