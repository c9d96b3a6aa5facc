"""A further peer: a row of the table and the class that it builds, here one that tunes the norms
behind the encoders by one rate."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.settings import NONE

MODULE = '''"""The norms behind both encoders."""

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import PEER
from study.method.subsets import parse


class NormsClassifier(FewShotClassifier):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone, parse("vision.ln_post"))
        self.tuned = [TunedParameter(one.name, PEER, one.parameter) for one in self.tuned]
'''
BUILD = """def _build_norms(start: PeerStart) -> PeerModel:
    from study.method.norms import NormsClassifier
    from study.method.peer_model import PeerModel
    from study.method.staged import StagedClassifier

    classifier = NormsClassifier(start.backbone)
    assert start.numbers == {"warmth": 0.5}
    return PeerModel(classifier, StagedClassifier(classifier))


"""
ROW = """    "norms": PeerRow(
        title="the last norms",
        meaning="The norms behind the image encoder.",
        trained="the norms",
        color="violet",
        rates=(0.01, 0.1),
        count=lambda architecture, numbers: 2 * architecture.vision.width,
        build=_build_norms,
        numbers={"warmth": PeerNumber("Has no effect.", 0.25, {"ge": 0}, " at warmth {}")},
        delta=("vision_model.post_layernorm.bias", "vision_model.post_layernorm.weight"),
        tunes_matrices=False,
    ),
"""


@pytest.mark.long
def test_a_study_trains_it_and_ranks_it(edited: Any, tmp_path: Path):
    peer = {"method": "norms", "lr": 0.05, "warmth": 0.5}
    baselines = json.dumps({**NONE, "norms": {"subset": "none", "peer": peer}})
    printed = edited(
        "method/peers.py",
        '    "projection": PeerRow(',
        ROW,
        f"search.baselines={baselines}",
        more=[("method/peers.py", "PEERS: dict[str, PeerRow] = {", BUILD)],
        own=("method/norms.py", MODULE),
    )
    assert "the last norms" in printed
    tested = (tmp_path / "runs" / "mine" / "trials").glob("test-*/config.json")
    configs = {path.parent: json.loads(path.read_text()) for path in tested}
    trials = [path for path, config in configs.items() if config["settings"]["peer"]]
    assert len(trials) == 2
    config = configs[trials[0]]
    assert config["settings"]["peer"].items() > {"method": "norms", "warmth": 0.5}.items()
    assert config["trainable"] == 64
    delta = load_file(trials[0] / "delta.safetensors")
    assert {name.rpartition(".")[0] for name in delta} == {"vision_model.post_layernorm"}
