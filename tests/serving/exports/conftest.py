"""A tuned embedded model, 60 digits, and an environment that has never seen this package."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.datasets import load_dataset
from study.data.images.table import normalize
from study.embedded import EMBEDDED, backbone_path
from study.method.delta import DeltaInfo, head_tensors, save_delta
from study.method.head import Head
from study.method.model import FewShotClassifier
from study.method.projection import ProjectionClassifier
from study.method.subsets import parse
from study.serving.exports import FORMATS, write_export
from study.serving.exports.format import ExportGuide
from study.serving.saved_model import SavedModel, read_saved_model
from tests.environments import outside, with_libraries

COUNT = 60
ALONE = """\
from importlib.util import find_spec
package = find_spec("study")
assert package is None or package.origin is None  # an editable installation left its data
"""
"""What holds in an environment that has never seen this package."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of test digits of all classes, wider than high, so that their sides are cut."""
    place, dataset = tmp_path_factory.mktemp("digits"), load_dataset("digits")
    paths = []
    images = dataset.test[:: len(dataset.test) // COUNT][:COUNT]  # they are sorted by class
    for number, record in enumerate(images):
        paths.append(str(place / f"{number}.png"))
        dataset.source.open_image(record.path).resize((45, 40)).save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the libraries, and without this package."""
    return with_libraries(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="session")
def embedded() -> Backbone:
    return load_backbone(backbone_path(EMBEDDED))


@pytest.fixture
def make_delta(embedded: Backbone, tmp_path: Path) -> Callable[..., SavedModel]:
    """Make a model that moved at random away from a backbone, so far that answers change."""

    def make(
        subset: str = "bitfit",
        head: Sequence[int] = (),
        templates: Sequence[str] = ("a {}.",),
        folder: Path | None = None,
        rows: Tensor | None = None,
        projection: bool = False,
    ) -> SavedModel:
        backbone = load_backbone(folder) if folder else embedded
        generator = torch.Generator().manual_seed(5)
        model = FewShotClassifier(backbone, parse(subset))
        if projection:
            model = ProjectionClassifier(backbone)
        tensors = {}
        for one in model.tuned:
            noise = torch.randn(one.parameter.shape, generator=generator)
            tensors[one.name] = one.parameter.detach() + 0.05 * noise
        if rows is None:
            rows = torch.randn(len(head), backbone.dim, generator=generator)
        if head:
            tensors |= head_tensors(Head(torch.nn.functional.normalize(rows, dim=-1), tuple(head)))
        info = DeltaInfo(
            backbone=str(folder or EMBEDDED),
            revision=None,
            fingerprint=backbone.fingerprint,
            subset=subset,
            class_names=load_dataset("digits").class_names,
            templates=tuple(templates),
        )
        save_delta(tmp_path / "delta.safetensors", tensors, info)
        return read_saved_model(tmp_path / "delta.safetensors")

    return make


@pytest.fixture
def make_telling(
    make_delta: Callable[..., SavedModel], digits: list[str]
) -> Callable[..., SavedModel]:
    """Make a model of a random backbone with a head that tells its images apart.

    Such a backbone has nearly the same features for all images. So the rows are those of a few of
    them, less their mean.
    """

    def make(subset: str, folder: Path) -> SavedModel:
        model = make_delta(subset, folder=folder).load_classifier()
        pixels = torch.stack([torch.tensor(model.read_pixels(path)) for path in digits[:40]])
        backbone = model.backbone
        prepared = normalize(pixels.permute(0, 3, 1, 2), backbone.image_mean, backbone.image_std)
        with torch.no_grad():
            features = model.model.encode_image(prepared)
        rows = (features - features.mean(dim=0))[: len(model.class_names)]
        return make_delta(subset, range(len(rows)), folder=folder, rows=rows)

    return make


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[SavedModel, str], tuple[Path, ExportGuide]]:
    """Write a model in a format."""

    def write(saved: SavedModel, name: str) -> tuple[Path, ExportGuide]:
        folder = tmp_path / name
        return folder, write_export(saved, FORMATS[name], folder)

    return write


@pytest.fixture
def assert_tuned_answers(
    exported: Callable[..., tuple[Path, ExportGuide]], programs: Path, digits: list[str]
) -> Callable[..., tuple[Path, ExportGuide]]:
    """Write a model in a format, whose code must give the tuned answers elsewhere.

    It gets the digits in the place of its photograph.
    """

    def check(saved: SavedModel, name: str, *, more: str = "") -> tuple[Path, ExportGuide]:
        folder, written = exported(saved, name)
        opened = 'images = [Image.open("photo.png").convert("RGB")]'
        assert opened in written.loading
        assert written.loading.endswith("print(names[row.argmax()], float(row.max()))\n")
        images = f"images = [Image.open(path).convert('RGB') for path in {digits!r}]"
        message = "print('FOUND', json.dumps([list(map(float, row)) for row in probabilities]))"
        loading = written.loading.replace(opened, images)
        code = "\n".join(["import json", ALONE, loading, message, more])
        done = subprocess.run(
            [programs / "python", "-c", code],
            cwd=folder, env=outside(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        theirs = torch.tensor(json.loads(done.stdout.partition("FOUND ")[2].splitlines()[0]))
        ours = saved.load_classifier().probabilities(digits)
        assert len(set(ours.argmax(dim=1).tolist())) > 2, "equal answers would prove little"
        assert torch.equal(theirs.argmax(dim=1), ours.argmax(dim=1))
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-3)
        return folder, written

    return check
