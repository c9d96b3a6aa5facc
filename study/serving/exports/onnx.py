"""The format ``onnx``: the image encoder and the classes as one graph.

Each exported graph is run in ONNX Runtime and compared with PyTorch.
"""

import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from study.errors import ConfigError, DeltaError
from study.serving.classifier import TunedClassifier
from study.serving.exports.format import ExportGuide, render_guide
from study.serving.saved_model import SavedModel

GRAPH = "model.onnx"
"""The file of the graph; its weights are in a second file beside it."""
PIXELS, PROBABILITIES = "pixel_values", "probabilities"
"""The input, (batch, 3, size, size) float32, and the output, (batch, classes) float32."""
TOLERANCE = 1e-4
"""The largest difference of a probability that counts as rounding."""


class ImageClassifier(nn.Module):
    """The graph: normalised pixels in, class probabilities out.

    Args:
        model: a classifier on the CPU.
    """

    classes: Tensor

    def __init__(self, model: TunedClassifier) -> None:
        super().__init__()
        self.model = model.model
        self.register_buffer("classes", model.class_features.clone())

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return (batch, classes) float32 for (batch, 3, size, size) float32."""
        features = self.model.encode_image(pixel_values)
        return self.model.logits(features, self.classes).softmax(dim=-1)


def import_onnxruntime() -> ModuleType:
    """Return ONNX Runtime.

    Raises:
        ConfigError: it, ONNX, or a library that PyTorch exports with is not installed.
    """
    try:
        # An optional extra that takes seconds to import.
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the format onnx needs the optional extra: pip install 'clipfit-study[onnx]' ({error})"
        ) from error
    return onnxruntime


def write_graph(saved: SavedModel, model: TunedClassifier, folder: Path) -> ExportGuide:
    """Write the graph, and compare its probabilities with PyTorch's.

    Raises:
        DeltaError: they differ by more than `TOLERANCE`.
    """
    graph = ImageClassifier(model).eval()
    size = model.backbone.image_size
    example = torch.zeros(2, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # of PyTorch about itself
        torch.onnx.export(
            graph,
            (example,),
            folder / GRAPH,
            input_names=[PIXELS],
            output_names=[PROBABILITIES],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    remove_metadata(folder / GRAPH)
    difference = largest_difference(folder / GRAPH, graph, size)
    if not difference <= TOLERANCE:
        raise DeltaError(
            f"the graph's probabilities differ from PyTorch's by up to {difference:.1g}; expected "
            f"at most {TOLERANCE:g}, so nothing was written"
        )
    note = (
        f"`{GRAPH}` takes normalised pixels, `{PIXELS}` (batch, 3, {size}, {size}) float32, and "
        f"gives `{PROBABILITIES}` (batch, {len(model.class_names)}) float32, in the order of the "
        f"class names. In ONNX Runtime they differed from PyTorch's by at most {difference:.1g}."
    )
    names = {"graph": GRAPH, "pixels": PIXELS, "probabilities": PROBABILITIES}
    loading = render_guide("loading_onnx.py.jinja", saved, model, **names)
    return ExportGuide(loading, (note,))


def remove_metadata(file: Path) -> None:
    """Remove the exporter's metadata from a graph.

    For each node, PyTorch stores the lines of code that it comes from, with paths of this machine.
    """
    import onnx

    exported = onnx.load(str(file), load_external_data=False)
    graph = exported.graph
    elements = [exported, graph, *exported.functions]
    for group in (graph.input, graph.output, graph.value_info, graph.initializer, graph.node):
        elements.extend(group)
    for element in elements:
        del element.metadata_props[:]
        element.doc_string = ""
    onnx.save(exported, str(file))


@torch.no_grad()
def largest_difference(file: Path, graph: nn.Module, size: int) -> float:
    """Return the largest difference of a probability in ONNX Runtime, over a few random images.

    Args:
        file: the graph's file.
        graph: the module that was exported.
        size: the side of the images, in pixels.
    """
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in (1, 3):  # the number of images is free
        pixels = torch.randn(batch, 3, size, size, generator=generator)
        (probabilities,) = session.run([PROBABILITIES], {PIXELS: pixels.numpy()})
        differences = (torch.from_numpy(probabilities) - graph(pixels)).abs()
        largest = max(largest, differences.nan_to_num(nan=torch.inf).max().item())
    return largest
