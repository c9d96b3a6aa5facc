"""The ONNX graph gives the tuned answers elsewhere, in ONNX Runtime alone."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from study.errors import ConfigError, DeltaError
from study.serving.exports import onnx as exporting
from tests.siglips import save_siglip

Make = Callable[..., Any]

MANY = ("a {}.", "the {}!", "this is {}")
ALONE = "import sys\nassert not {'torch', 'transformers'} & sys.modules.keys()\n"


@pytest.mark.long
@pytest.mark.parametrize(("head", "templates"), [((2, 0, 7), ("a {}.",)), ((), MANY)])
def test_the_runtime_alone_gives_the_tuned_answers(
    make_delta: Make,
    assert_tuned_answers: Make,
    head: Sequence[int],
    templates: Sequence[str],
) -> None:
    saved = make_delta(head=head, templates=templates)
    folder, written = assert_tuned_answers(saved, "onnx", more=ALONE)
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "classes.json"}, (
        "a linear head is in the graph"
    )
    assert "differed from PyTorch's by at most" in written.notes[0]


def test_a_graph_says_what_it_is_and_nothing_of_this_machine(
    make_delta: Make, exported: Make
) -> None:
    saved = make_delta()
    folder, _ = exported(saved, "onnx")
    graph = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(graph)
    told = {one.key: json.loads(one.value) for one in graph.metadata_props}
    assert told["class_names"] == list(saved.info.class_names)
    assert told["image_mean"] == [0.3, 0.3, 0.3]
    (pixels,), (probabilities,) = graph.graph.input, graph.graph.output
    assert (pixels.name, probabilities.name) == ("pixel_values", "probabilities")
    assert pixels.type.tensor_type.shape.dim[0].dim_param == "batch"
    contents = (folder / "model.onnx").read_bytes()
    for hidden in (b"site-packages", b"study/", str(Path(exporting.__file__).parent).encode()):
        assert hidden not in contents


def test_weights_that_one_file_cannot_hold_lie_beside_it(
    make_delta: Make,
    exported: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "LARGEST", 1000)
    folder, _ = exported(make_delta(), "onnx")
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "model.onnx.data", "classes.json")
    }
    assert (folder / "model.onnx").stat().st_size < 200_000


def test_a_graph_that_differs_is_refused(
    make_delta: Make,
    exported: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Sharper(exporting.ImageClassifier):
        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            own = super().forward(pixel_values)
            return own if torch.compiler.is_exporting() else own.square()

    monkeypatch.setattr(exporting, "ImageClassifier", Sharper)
    with pytest.raises(DeltaError, match=r"differ from PyTorch's by up to .* allowed is 0\.0001"):
        exported(make_delta(), "onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"onnx needs the optional extra: .*clipfit-study\[onnx"):
        exporting.import_onnxruntime()


@pytest.mark.long
def test_a_siglip_and_its_way_to_prepare_images_are_in_the_code(
    make_telling: Make,
    assert_tuned_answers: Make,
    tmp_path: Path,
) -> None:
    saved = make_telling("bitfit", save_siglip(tmp_path / "siglip"))
    _, written = assert_tuned_answers(saved, "onnx")
    assert "sides = [size, size]" in written.loading
    assert "BILINEAR" in written.loading
