"""The labels of candidates: no two are the same, and each can name a folder."""

import re

from study.config.labels import ARMS, AS_PUBLISHED, CANDIDATE_LABELS, LINEAR, RANKS
from study.config.value_types import LABEL


def test_no_two_things_share_a_label():
    labels = (*RANKS, *CANDIDATE_LABELS, *ARMS, *AS_PUBLISHED, LINEAR)
    assert len(set(labels)) == len(labels)
    assert all(re.fullmatch(LABEL, label) for label in labels)
