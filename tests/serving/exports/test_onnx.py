"""The ONNX graph is compared with PyTorch."""

import math
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from study.errors import ConfigError, DeltaError
from study.serving.exports import onnx as exporting


@pytest.mark.long
def test_a_graph_gives_the_answers_and_has_nothing_of_this_machine(make_delta: Any, exported: Any):
    saved = make_delta()
    folder, _ = exported(saved, "onnx")
    graph = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(graph)
    (pixels,), (probabilities,) = graph.graph.input, graph.graph.output
    assert (pixels.name, probabilities.name) == ("pixel_values", "probabilities")
    assert pixels.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {path.name for path in folder.glob("model*")} == {"model.onnx", "model.onnx.data"}
    contents = (folder / "model.onnx").read_bytes()
    for hidden in (b"site-packages", b"study/", str(Path(exporting.__file__).parent).encode()):
        assert hidden not in contents
    classifier = exporting.ImageClassifier(saved.load_classifier())
    assert exporting.largest_difference(folder / "model.onnx", classifier, 32) <= 1e-4
    classifier.classes *= 2
    assert exporting.largest_difference(folder / "model.onnx", classifier, 32) > 1e-3


@pytest.mark.parametrize("difference", [0.1, math.nan])
def test_a_graph_that_differs_is_refused(
    make_delta: Any, exported: Any, monkeypatch: pytest.MonkeyPatch, difference: float
):
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: None)
    monkeypatch.setattr(exporting, "remove_metadata", lambda *_: None)
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: difference)
    with pytest.raises(DeltaError, match=rf"by up to {difference}; expected at most 0\.0001"):
        exported(make_delta(), "onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_library_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"onnx needs the optional extra: .*clipfit-study\[onnx"):
        exporting.import_onnxruntime()
