"""The numbers of a model are counted from its sizes."""

import pytest

from study.backbones.architecture import Architecture, Depths, EncoderShape
from study.method.parameters import count_numbers
from study.method.subsets import parse
from tests import published_counts

VIT_B16 = Architecture(
    EncoderShape(12, 512, 2048), EncoderShape(12, 768, 3072), image_size=224, dim=512
)
VIT_L14 = Architecture(
    EncoderShape(12, 768, 3072), EncoderShape(24, 1024, 4096), image_size=224, dim=512
)


@pytest.mark.parametrize(("subset", "count"), published_counts.VIT_B16)
def test_the_counts_of_vit_b16_are_known_without_its_weights(subset: str, count: int) -> None:
    assert count_numbers(VIT_B16, parse(subset).resolve(VIT_B16.depths)) == count


def test_clipfit_on_vit_l14_tunes_111616_numbers() -> None:
    assert VIT_L14.depths == Depths(text=12, vision=24)
    assert count_numbers(VIT_L14, parse("clipfit").resolve(VIT_L14.depths)) == 111_616
