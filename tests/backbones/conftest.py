"""The small random CLIP that the tests of this room share."""

from tests.small_clips import backbone, checkpoint, loaded  # noqa: F401  (fixtures)
