"""A tuned model is a folder that transformers loads."""

from pathlib import Path

from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from study.backbones.backbone import fingerprint
from study.method.model import FewShotClassifier
from study.serving.exports.model_folder import save_merged
from study.serving.tuned_backbone import load_tuned_backbone


def test_a_merged_folder_is_an_ordinary_checkpoint_of_the_tuned_model(
    checkpoint: Path, path: Path, tuned: FewShotClassifier, tmp_path: Path
):
    out = tmp_path / "merged"
    save_merged(out, load_tuned_backbone(path, str(checkpoint))[0])
    assert fingerprint(CLIPModel.from_pretrained(out)) == fingerprint(tuned.clip)
    texts = ["a red cat", "dog"]
    before, after = (AutoTokenizer.from_pretrained(folder)(texts) for folder in (checkpoint, out))
    assert before["input_ids"] == after["input_ids"]
    assert list(CLIPImageProcessor.from_pretrained(out).image_std) == [0.25, 0.25, 0.25]
    assert {p.name for p in out.iterdir()} == {p.name for p in checkpoint.iterdir()}
