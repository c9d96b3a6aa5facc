"""The labels of candidates: no two are the same, and each can name a folder."""

import re

from study.config.labels import BASELINE, LINEAR, OPEN, RANKS, TUNED, WITH_DELTA
from study.config.value_types import LABEL


def test_no_two_things_share_a_label():
    labels = (*RANKS, WITH_DELTA, BASELINE, TUNED, OPEN, LINEAR)
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(LABEL, label) for label in labels)
