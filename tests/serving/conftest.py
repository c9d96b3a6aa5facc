"""The small random CLIPs and their deltas, which the tests of this room share."""

from tests.small_clips import (  # noqa: F401  (fixtures)
    backbone,
    checkpoint,
    loaded,
    pixel_values,
)
from tests.small_deltas import head, headed, path, tensors, tuned  # noqa: F401  (fixtures)
