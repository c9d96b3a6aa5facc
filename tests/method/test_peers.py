"""Each row of the table of peers builds what it says, and can be read without PyTorch."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig

from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.method.parameters import PROJECTION
from study.method.peer_model import PeerModel
from study.method.peers import PEERS, PeerStart, find_peer, list_peer_numbers


def built(name: str, backbone: Backbone, seed: int = 1, **numbers: float) -> PeerModel:
    row = PEERS[name]
    defaults = {key: number.default for key, number in row.numbers.items()}
    start = PeerStart(
        backbone=backbone, numbers={**defaults, **numbers}, seed=seed, precision="float32", shots=4
    )
    return row.build(start)


@pytest.mark.parametrize("name", PEERS)
def test_a_row_says_of_its_model_what_can_be_known_without_weights(
    checkpoint: Path, backbone: Backbone, name: str
):
    row, model = PEERS[name], built(name, backbone)
    numbers = {key: number.default for key, number in row.numbers.items()}
    tuned = {one.name: one.parameter for one in model.classifier.tuned}
    count = sum(parameter.numel() for parameter in tuned.values())
    assert row.count(read_architecture(checkpoint), numbers) == count
    of_backbone = dict(backbone.clip.named_parameters()).keys() & tuned.keys()
    assert any(tuned[name].dim() >= 2 for name in of_backbone) == row.tunes_matrices
    assert model.staged.classifier is model.classifier
    assert [*model.staged.tuned] == model.classifier.tuned


def test_a_vit_b16_has_as_many_numbers_as_are_published(tmp_path: Path):
    CLIPConfig(vision_config={"patch_size": 16}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    architecture = read_architecture(tmp_path)
    assert PEERS["full"].count(architecture, {}) == 149_620_736
    # Of 12 blocks of each encoder, two projections, two factors of rank 4.
    assert PEERS["lora"].count(architecture, {"rank": 4}) == 12 * 2 * 2 * 4 * (512 + 768)
    assert PEERS["projection"].count(architecture, {}) == 768 * 512


def test_lora_has_the_rank_of_its_settings_and_begins_by_its_seed(backbone: Backbone):
    first, second = (built("lora", backbone, seed, rank=3).classifier.tuned for seed in (1, 2))
    for one, other in zip(first, second, strict=True):
        assert min(one.parameter.shape) == 3
        assert torch.equal(one.parameter, other.parameter) == (".lora_B." in one.name)


def test_a_number_means_the_same_in_every_row():
    for name, number in list_peer_numbers().items():
        rows = [row for row in PEERS.values() if name in row.numbers]
        assert all(row.numbers[name] == number for row in rows)
    assert len({row.color for row in PEERS.values()}) == len(PEERS)


def test_a_delta_is_known_by_its_tensors():
    assert find_peer([PROJECTION]) == "projection"
    assert find_peer([PROJECTION, "vision_model.post_layernorm.bias"]) is None
    assert find_peer([]) is None
