"""The small random CLIPs that the tests of this room share."""

from tests.small_clips import (  # noqa: F401  (fixtures)
    backbone,
    checkpoint,
    input_ids,
    labels,
    loaded,
    pixel_values,
)
from tests.small_deltas import head, headed, path, tensors, tuned  # noqa: F401  (fixtures)
