import pytest
import torch

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier
from study.method.subsets import parse
from tests.small_clips import END, VOCABULARY, MakeBackbone


def test_classifiers_share_frozen_storage_and_own_what_they_tune(backbone: Backbone):
    first = FewShotClassifier(backbone, parse("clipfit"))
    second = FewShotClassifier(backbone, parse("text.bias"))
    for name, parameter in backbone.clip.named_parameters():
        for classifier in (first, second):
            shared = classifier.clip.get_parameter(name).data_ptr() == parameter.data_ptr()
            assert shared == (name not in {t.name for t in classifier.tuned}), name


@pytest.mark.parametrize("end", [VOCABULARY[END], 2], ids=["new", "legacy"])
def test_cutting_after_end_of_text_gives_the_features_of_77_tokens(
    make_backbone: MakeBackbone, end: int
):
    backbone = make_backbone(eos_token_id=end)
    classifier = FewShotClassifier(backbone, parse("clipfit")).double()
    prompts = ["a photo of a cat", "a red dog", "bird"]
    rows = backbone.tokenizer(prompts, padding="max_length", max_length=77)["input_ids"]
    whole, cut = torch.tensor(rows), backbone.tokenize(prompts)
    assert (whole.shape, cut.shape) == ((3, 77), (3, 7))
    features = classifier.encode_text(cut)
    assert features.dtype == torch.float64
    torch.testing.assert_close(features, classifier.encode_text(whole), atol=1e-12, rtol=0)
