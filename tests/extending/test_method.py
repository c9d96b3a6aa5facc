"""A further method: its class, its classifier, and the case that builds it, here one that tunes the
norm behind the image encoder by one rate."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.settings import NONE

MODULE = '''"""The norm behind the image encoder."""

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier, TunedParameter
from study.method.parameters import METHOD
from study.method.subsets import parse


class NormsClassifier(FewShotClassifier):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone, parse("vision.ln_post"))
        self.tuned = [TunedParameter(one.name, METHOD, one.parameter) for one in self.tuned]
'''
CLASS = '''class Norms(TrainedMethod):
    """The norm behind the image encoder."""

    title = "the last norms"
    tunes_matrices = False
    delta = ("vision_model.post_layernorm.bias", "vision_model.post_layernorm.weight")

    method: Literal["norms"] = "norms"
    """The norm behind the image encoder."""
    lr: RateOrRange = (0.01, 0.1)
    """The learning rate of the norms."""
    warmth: float = Field(0.25, ge=0)
    """Has no effect."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values are trained."""
        return 2 * architecture.vision.width


'''
CASE = """        case Norms(warmth=warmth):
            from study.method.norms import NormsClassifier

            assert warmth == 0.5
            classifier = NormsClassifier(backbone)
            return BuiltModel(classifier, StagedClassifier(classifier))
"""


@pytest.mark.long
def test_a_study_trains_it_and_ranks_it(edited: Any, tmp_path: Path):
    norms = {"method": "norms", "lr": 0.05, "warmth": 0.5}
    printed = edited(
        "config/methods.py",
        "METHODS: dict[str",
        CLASS,
        f"search.baselines={json.dumps({**NONE, 'norms': norms})}",
        more=[
            ("config/methods.py", '    "projection": Projection,', '    "norms": Norms,\n'),
            (
                "config/methods.py",
                '    | Annotated[Projection, Tag("[projection]")],',
                '    | Annotated[Norms, Tag("[norms]")]\n',
            ),
            ("trial/build_model.py", "from study.config.trial_settings",
             "from study.config.methods import Norms\n"),
            ("trial/build_model.py", "        case FullFineTuning():", CASE),
        ],
        own=("method/norms.py", MODULE),
    )  # fmt: skip
    assert "the last norms" in printed
    tested = (tmp_path / "runs" / "mine" / "trials").glob("test-*/config.json")
    configs = {path.parent: json.loads(path.read_text()) for path in tested}
    trials = [path for path, config in configs.items() if config["settings"]["method"]]
    assert len(trials) == 2
    config = configs[trials[0]]
    assert config["settings"]["method"] == norms
    assert config["trainable"] == 64
    delta = load_file(trials[0] / "delta.safetensors")
    assert {name.rpartition(".")[0] for name in delta} == {"vision_model.post_layernorm"}
