"""The numbers of a model are counted from its sizes."""

from study.backbones.architecture import Architecture, EncoderShape
from study.method.parameters import count_numbers
from study.method.subsets import parse
from tests.case_tables import from_table

MODELS = {
    "ViT-B/16": Architecture(
        EncoderShape(12, 512, 2048), EncoderShape(12, 768, 3072), image_size=224, dim=512
    ),
    "ViT-L/14": Architecture(
        EncoderShape(12, 768, 3072), EncoderShape(24, 1024, 4096), image_size=224, dim=512
    ),
}


@from_table
def test_the_counts_of_published_models_are_known_without_their_weights(
    model: str, subset: str, count: int
):
    architecture = MODELS[model]
    assert count_numbers(architecture, parse(subset).resolve(architecture.depths)) == count
