"""Each row of the table of peers builds what it says, and can be read without PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import CLIPConfig

from study.backbones.backbone import Backbone
from study.backbones.description import read_architecture
from study.method.parameters import PROJECTION
from study.method.peer_model import PeerModel
from study.method.peers import PEERS, PeerStart, find_peer, list_peer_numbers


def built(name: str, backbone: Backbone, **numbers: float) -> PeerModel:
    row = PEERS[name]
    defaults = {key: number.default for key, number in row.numbers.items()}
    start = PeerStart(
        backbone=backbone, numbers={**defaults, **numbers}, seed=1, precision="float32", shots=4
    )
    return row.build(start)


@pytest.mark.parametrize("name", PEERS)
def test_what_is_counted_without_weights_is_what_is_tuned(
    checkpoint: Path, backbone: Backbone, name: str
) -> None:
    row = PEERS[name]
    numbers = {key: number.default for key, number in row.numbers.items()}
    tuned = built(name, backbone).classifier.tuned
    count = sum(one.parameter.numel() for one in tuned)
    assert row.count(read_architecture(checkpoint), numbers) == count


@pytest.mark.parametrize("name", PEERS)
def test_the_pass_is_that_of_the_classifier_that_is_tuned(backbone: Backbone, name: str) -> None:
    model = built(name, backbone)
    assert model.staged.classifier is model.classifier
    assert [*model.staged.tuned] == model.classifier.tuned


@pytest.mark.parametrize("name", PEERS)
def test_a_row_says_whether_it_tunes_matrices_of_the_backbone(
    backbone: Backbone, name: str
) -> None:
    own = dict(backbone.clip.named_parameters())
    tuned = [one.name for one in built(name, backbone).classifier.tuned]
    matrices = [one for one in tuned if one in own and own[one].dim() >= 2]
    assert bool(matrices) == PEERS[name].tunes_matrices


def test_a_vit_b16_has_as_many_numbers_as_are_published(tmp_path: Path) -> None:
    CLIPConfig(vision_config={"patch_size": 16}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    architecture = read_architecture(tmp_path)
    assert PEERS["full"].count(architecture, {}) == 149_620_736
    # Of 12 blocks of each encoder, two projections, two factors of rank 4.
    assert PEERS["lora"].count(architecture, {"rank": 4}) == 12 * 2 * 2 * 4 * (512 + 768)
    assert PEERS["projection"].count(architecture, {}) == 768 * 512


def test_the_rank_of_lora_is_that_of_its_settings(backbone: Backbone) -> None:
    tuned = built("lora", backbone, rank=3).classifier.tuned
    assert {min(one.parameter.shape) for one in tuned} == {3}


def test_a_number_means_the_same_in_every_row() -> None:
    for name, number in list_peer_numbers().items():
        rows = [row for row in PEERS.values() if name in row.numbers]
        assert all(row.numbers[name] == number for row in rows)
    assert len({row.color for row in PEERS.values()}) == len(PEERS)


def test_a_delta_is_known_by_its_tensors() -> None:
    assert find_peer([PROJECTION]) == "projection"
    assert find_peer([PROJECTION, "vision_model.post_layernorm.bias"]) is None
    assert find_peer([]) is None


def test_the_table_is_read_without_pytorch() -> None:
    code = "import sys, study.method.peers; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
