"""The numbers of a model are counted from its sizes."""

import pytest

from study.backbones.architecture import Architecture, EncoderShape
from study.method.parameters import count_numbers
from study.method.subsets import parse
from tests import published_counts

VIT_B16 = Architecture(
    EncoderShape(12, 512, 2048), EncoderShape(12, 768, 3072), image_size=224, dim=512
)
VIT_L14 = Architecture(
    EncoderShape(12, 768, 3072), EncoderShape(24, 1024, 4096), image_size=224, dim=512
)


@pytest.mark.parametrize(
    "architecture, subset, count",
    [*((VIT_B16, *known) for known in published_counts.VIT_B16), (VIT_L14, "clipfit", 111_616)],
)
def test_the_counts_of_published_models_are_known_without_their_weights(
    architecture: Architecture, subset: str, count: int
):
    assert count_numbers(architecture, parse(subset).resolve(architecture.depths)) == count
