import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.errors import BackboneError, SubsetError
from study.method.model import Backbone, FewShotClassifier, fingerprint, load_backbone
from study.method.subsets import parse
from study.method.training import make_optimizer, training_step

MakeBackbone = Callable[..., Backbone]


def train(classifier: FewShotClassifier, pixels: Tensor, labels: Tensor, ids: Tensor) -> None:
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
    zero_shot_text = classifier.encode_text(ids).detach()
    for _ in range(3):
        training_step(classifier, optimizer, pixels, labels, ids, zero_shot_text, 1.0)


def test_training_changes_the_tuned_tensors_alone_and_never_the_backbone(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    before = {name: p.clone() for name, p in backbone.clip.named_parameters()}
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    train(classifier, pixel_values, labels, input_ids)
    tuned = {t.name for t in classifier.tuned}
    for name, parameter in classifier.clip.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in tuned), name
    for name, parameter in backbone.clip.named_parameters():
        assert torch.equal(parameter, before[name]), name
        assert not parameter.requires_grad
        assert parameter.grad is None
    assert fingerprint(backbone.clip) == backbone.fingerprint


def test_classifiers_share_frozen_storage_and_own_what_they_tune(backbone: Backbone) -> None:
    first = FewShotClassifier(backbone, parse("clipfit"))
    second = FewShotClassifier(backbone, parse("text.bias"))
    for name, parameter in backbone.clip.named_parameters():
        for classifier in (first, second):
            shared = classifier.clip.get_parameter(name).data_ptr() == parameter.data_ptr()
            assert shared == (name not in {t.name for t in classifier.tuned}), name


def test_a_second_classifier_leaves_the_first_trainable(backbone: Backbone) -> None:
    first = FewShotClassifier(backbone, parse("clipfit"))
    FewShotClassifier(backbone, parse("none"))
    trainable = {name for name, p in first.clip.named_parameters() if p.requires_grad}
    assert trainable == {t.name for t in first.tuned}


def test_a_subset_that_does_not_fit_leaves_the_backbone_as_it_was(backbone: Backbone) -> None:
    with pytest.raises(SubsetError, match="selects no layer"):
        FewShotClassifier(backbone, parse("clipfit + text.bias[5]"))
    assert not any(p.requires_grad for p in backbone.clip.parameters())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("legacy", [False, True])
def test_cutting_after_end_of_text_gives_the_features_of_77_tokens(
    make_backbone: MakeBackbone, dtype: torch.dtype, tolerance: float, legacy: bool
) -> None:
    backbone = make_backbone(eos_token_id=2) if legacy else make_backbone()
    classifier = FewShotClassifier(backbone, parse("clipfit")).to(dtype)
    prompts = ["a photo of a cat", "a red dog", "bird"]
    whole = torch.tensor(
        backbone.tokenizer(prompts, padding="max_length", max_length=77)["input_ids"]
    )
    cut = backbone.tokenize(prompts)
    assert (whole.shape, cut.shape) == ((3, 77), (3, 7))
    with torch.no_grad():
        cut_features, whole_features = classifier.encode_text(cut), classifier.encode_text(whole)
    assert cut_features.dtype == dtype
    torch.testing.assert_close(cut_features, whole_features, atol=tolerance, rtol=0)


def test_features_are_of_unit_length_and_logits_their_scaled_cosines(
    backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
) -> None:
    classifier = FewShotClassifier(backbone, parse("none"))
    with torch.no_grad():
        text, image = classifier.encode_text(input_ids), classifier.encode_image(pixel_values)
        reference = backbone.clip(input_ids=input_ids, pixel_values=pixel_values)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(image.norm(dim=-1), torch.ones(6))
    torch.testing.assert_close(classifier.logits(image, text), reference.logits_per_image)


def test_legacy_pooling_takes_the_features_of_the_largest_id(make_backbone: MakeBackbone) -> None:
    legacy, modern = make_backbone(eos_token_id=2), make_backbone()
    ids = modern.tokenize(["a red cat", "dog"])
    assert torch.equal(legacy.tokenize(["a red cat", "dog"]), ids)
    with torch.no_grad():
        theirs = FewShotClassifier(legacy, parse("none")).encode_text(ids)
        ours = FewShotClassifier(modern, parse("none")).encode_text(ids)
    assert torch.equal(theirs, ours)


def test_reduced_precision_keeps_float32_masters_and_every_term_of_the_loss(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    exact = FewShotClassifier(backbone, parse("clipfit"))
    zero_shot_text = exact.encode_text(input_ids).detach()
    for precision, tolerance in (("bfloat16", 0.02), ("float16", 0.005)):
        classifier = FewShotClassifier(backbone, parse("clipfit"), precision=precision)  # type: ignore[arg-type]
        text = classifier.encode_text(input_ids)
        assert text.dtype == torch.float32
        assert 0 < (text - zero_shot_text).abs().max() < tolerance
        train(classifier, pixel_values, labels, input_ids)
        optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
        losses = training_step(
            classifier, optimizer, pixel_values, labels, input_ids, zero_shot_text, 10.0
        )
        assert losses.distillation > 1e-4
        torch.testing.assert_close(
            losses.loss, losses.cross_entropy + 10 * losses.distillation, rtol=1e-6, atol=0
        )
        for tuned in classifier.tuned:
            assert tuned.parameter.dtype == torch.float32
            assert tuned.parameter.grad is not None
            assert tuned.parameter.grad.dtype == torch.float32


def test_a_checkpoint_folder_loads_as_it_was_saved(checkpoint: Path, backbone: Backbone) -> None:
    loaded = load_backbone(checkpoint)
    assert loaded.fingerprint == backbone.fingerprint
    assert loaded.name == str(checkpoint)
    assert (loaded.image_size, loaded.image_mean) == (16, (0.5, 0.5, 0.5))
    assert loaded.image_std == (0.25, 0.25, 0.25)
    assert torch.equal(loaded.tokenize(["a red cat"]), backbone.tokenize(["a red cat"]))
    assert not any(p.requires_grad for p in loaded.clip.parameters())
    assert not loaded.clip.training


def test_half_precision_weights_are_loaded_as_float32(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(
        {name: t.half() for name, t in tensors.items()},
        checkpoint / "model.safetensors",
        {"format": "pt"},
    )
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert {p.dtype for p in load_backbone(checkpoint).clip.parameters()} == {torch.float32}


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def missing(folder: Path) -> None:
    shutil.rmtree(folder)


def corrupt(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 200)


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def lacking(folder: Path) -> None:
    rewritten(folder, lambda tensors: tensors.pop("vision_model.post_layernorm.bias"))


def misshapen(folder: Path) -> None:
    rewritten(
        folder, lambda tensors: tensors.update({"text_projection.weight": torch.zeros(24, 31)})
    )


def not_finite(folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["text_projection.weight"][3, 4] = torch.nan
        tensors["vision_model.encoder.layers.1.mlp.fc1.bias"][7] = -torch.inf

    rewritten(folder, spoil)


def not_finite_in_half(folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.half() for name, tensor in tensors.items()})
        tensors["text_model.encoder.layers.0.layer_norm1.bias"][0] = torch.inf

    rewritten(folder, spoil)


def zero(folder: Path) -> None:
    rewritten(folder, lambda tensors: [tensor.zero_() for tensor in tensors.values()])


def zero_at_the_end(folder: Path) -> None:
    rewritten(folder, lambda tensors: tensors["visual_projection.weight"].zero_())


def another_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no-such-model"}))
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def strange_activation(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_act"] = "none such"
    (folder / "config.json").write_text(json.dumps(config))


def strange_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"image_mean": "dark", "image_std": 1}')


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (nothing, "cannot be loaded"),
    (missing, "is not there"),
    (corrupt, r"weights that cannot be read \(.*: was the file written whole"),
    (truncated, r"weights that cannot be read \(.*: was the file written whole"),
    (pickled, "cannot be loaded.*safetensors"),
    (lacking, r"lacks 1 tensors of a CLIPModel, first vision_model\.post_layernorm\.bias"),
    (
        misshapen,
        r"1 tensors of another shape .* text_projection\.weight: \(24, 31\) in the weights",
    ),
    (not_finite, r"NaN or infinity in 2 of its \d+ tensors, first vision_model\..*fc1\.bias"),
    (not_finite_in_half, r"NaN or infinity in 1 of .*, first text_model\..*layer_norm1\.bias"),
    (zero, r"nothing but zeros in \d\d of its \d+ tensors"),
    (zero_at_the_end, r"nothing but zeros in 1 of .*, first visual_projection\.weight"),
    (another_model, "lacks|cannot be loaded"),
    (broken_config, "cannot be loaded"),
    (no_tokenizer, "tokenizer without words"),
    (strange_activation, "cannot be loaded"),
    (strange_processor, "cannot be loaded"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_checkpoint_that_cannot_be_used_is_a_backbone_error_that_names_it(
    checkpoint: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(checkpoint)
    with pytest.raises(BackboneError, match=f"(?s)'{checkpoint}' .*({message})"):
        load_backbone(checkpoint)


def test_without_preprocessing_of_its_own_a_checkpoint_has_that_of_openai(checkpoint: Path) -> None:
    side = load_backbone(checkpoint).image_size
    (checkpoint / "preprocessor_config.json").unlink()
    backbone = load_backbone(checkpoint)
    assert backbone.image_mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert backbone.image_std == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert backbone.processor.crop_size["height"] == backbone.image_size == side


class Planted:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


def test_pickled_weights_are_never_opened(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"x": Planted(tmp_path / "trace")}, checkpoint / "pytorch_model.bin")
    with pytest.raises(BackboneError):
        load_backbone(checkpoint)
    assert not (tmp_path / "trace").exists()
    torch.load(checkpoint / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "trace").exists(), "the trap itself works"


def test_the_fingerprint_is_that_of_the_weights(make_backbone: MakeBackbone) -> None:
    clip = make_backbone(seed=0).clip
    assert fingerprint(clip) == make_backbone(seed=0).fingerprint
    assert fingerprint(clip) != make_backbone(seed=1).fingerprint
    with torch.no_grad():
        clip.logit_scale += 1e-3
    assert fingerprint(clip) != make_backbone(seed=0).fingerprint
