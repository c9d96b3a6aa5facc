from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer

from study.embedded.architecture import (
    build_model,
    build_tokenizer,
    shrink_text_residual,
    text_residual_scale,
)
from study.embedded.captions import all_captions


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(all_captions())


def test_a_prompt_comes_back_from_its_tokens(tokenizer: CLIPTokenizer) -> None:
    for text in ("a photo of the digit seven.", "zebra on a couch", "naïve café", "上"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" .", ".") == text
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.eos_token_id) == 1


def test_frequent_words_are_one_token_and_case_is_ignored(tokenizer: CLIPTokenizer) -> None:
    prompt = "a photo of the capital letter q."
    assert len(tokenizer.tokenize(prompt)) == 8
    assert tokenizer.tokenize(prompt.upper()) == tokenizer.tokenize(prompt)


def test_the_same_texts_make_the_same_tokenizer(tokenizer: CLIPTokenizer) -> None:
    assert build_tokenizer(all_captions()).get_vocab() == tokenizer.get_vocab()


def test_the_tokenizer_survives_a_folder(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = ["a photo of the digit seven.", "an okapi"]
    assert loaded(texts, padding=True)["input_ids"] == tokenizer(texts, padding=True)["input_ids"]
    assert loaded.model_max_length == 77


def test_the_model_pools_at_the_end_token_and_not_by_the_legacy_rule(
    tokenizer: CLIPTokenizer,
) -> None:
    config = build_model(tokenizer).config.text_config
    assert config.eos_token_id == tokenizer.eos_token_id != 2
    assert (config.bos_token_id, config.pad_token_id) == (
        tokenizer.bos_token_id,
        tokenizer.pad_token_id,
    )


def test_shrinking_the_residual_changes_its_scale_and_no_feature(
    tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build_model(tokenizer).eval()
    ids = tokenizer(all_captions()[:50], padding=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        before = model.get_text_features(input_ids=ids).pooler_output
        scale = text_residual_scale(model, ids)
        shrink_text_residual(model, 7.0)
        after = model.get_text_features(input_ids=ids).pooler_output
        model.save_pretrained(tmp_path)
        loaded = CLIPModel.from_pretrained(tmp_path).get_text_features(input_ids=ids).pooler_output
    assert text_residual_scale(model, ids) == pytest.approx(scale / 7)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loaded, after, atol=1e-6, rtol=1e-6)
