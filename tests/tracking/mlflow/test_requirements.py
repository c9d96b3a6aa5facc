"""A registered model is served where this package is not installed, by the code beside it."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from study.backbones.description import read_architecture
from study.data.datasets import load_dataset
from study.data.images.sources import encode_base64
from study.embedded import EMBEDDED, backbone_path
from study.tracking.mlflow.registry import register_winner
from study.tracking.mlflow.requirements import LIBRARIES, TOKENIZERS, requirements
from study.tracking.mlflow.study_run import StudyRun
from tests.environments import outside, with_libraries
from tests.openclips import write_open_clip
from tests.siglips import save_siglip

SERVE = """\
import json, sys
from importlib.util import find_spec
package = find_spec("study")
assert package is None or package.origin is None  # an editable installation left its data
import mlflow
found = mlflow.pyfunc.load_model("model").predict(json.load(open("images.json"))["inputs"])
import study
own = {n: m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "study"}
print("ANSWER", json.dumps([study.__file__, own, found.to_dict("records")]))
"""


@pytest.fixture(scope="module")
def place(
    finish: Callable[..., Any],
    new_store: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a registered model as a folder, and images in base64."""
    place = tmp_path_factory.mktemp("carried")
    study, uri = finish(place, "carried", linear=True), new_store(place)
    registration = register_winner(StudyRun(study.study, uri))
    assert registration is not None
    source = MlflowClient(uri).get_model_version_download_uri(
        registration.model, registration.version
    )
    shutil.copytree(mlflow.artifacts.download_artifacts(source), place / "model")
    dataset = load_dataset("digits")
    images = [encode_base64(dataset.source.open_image(record.path)) for record in dataset.test[:20]]
    (place / "images.json").write_text(json.dumps({"inputs": images}))
    return place


def expected(place: Path) -> Any:
    model = mlflow.pyfunc.load_model(str(place / "model"))
    return model.predict(json.loads((place / "images.json").read_text())["inputs"])


def assert_equal(rows: list[dict[str, Any]], place: Path) -> None:
    own = expected(place).to_dict("records")
    assert [row["class_name"] for row in rows] == [row["class_name"] for row in own]
    for row, other in zip(rows, own, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.fixture(scope="module")
def served(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an environment that has never seen this package says when it loads the model."""
    python = with_libraries(tmp_path_factory.mktemp("elsewhere")) / "python"
    done = subprocess.run(
        [python, "-c", SERVE], cwd=place, env=outside(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = (x for x in done.stdout.splitlines() if x.startswith("ANSWER "))
    return json.loads(line.removeprefix("ANSWER "))


def test_a_model_answers_where_the_package_is_not(place: Path, served: Any) -> None:
    package, modules, rows = served
    assert Path(package).is_relative_to(place / "model" / "code")
    assert all(Path(file).is_relative_to(place) for file in modules.values())
    assert_equal(rows, place)


def test_the_requirements_are_all_that_serving_imports(place: Path, served: Any) -> None:
    _, modules, _ = served
    distributions, imported = packages_distributions(), set[str]()
    for file in modules.values():
        for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    libraries = imported - set(sys.stdlib_module_names) - {"study"}
    for name in libraries:
        assert {own.lower() for own in distributions[name]} & {*LIBRARIES}, name
    written = (place / "model" / "requirements.txt").read_text().split()
    assert written == requirements(read_architecture(backbone_path(EMBEDDED)))
    assert not [line for line in written if "clipfit" in line or "+" in line]


def test_what_reads_a_vocabulary_is_required_where_a_backbone_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_open_clip(tmp_path / "open_clip", {})
    siglip = read_architecture(save_siglip(tmp_path / "siglip"))
    names = {line.partition("=")[0] for line in requirements(siglip)}
    assert names - set(LIBRARIES) == {"protobuf", "sentencepiece"}
    names = {
        line.partition("=")[0] for line in requirements(read_architecture(tmp_path / "open_clip"))
    }
    assert names - set(LIBRARIES) == {"open_clip_torch"}
    monkeypatch.setitem(TOKENIZERS, "siglip", ("not-installed-anywhere",))
    assert len(requirements(siglip)) == len(LIBRARIES)


@pytest.mark.long
def test_the_folder_of_an_image_has_the_code_and_not_the_package(
    place: Path, tmp_path: Path
) -> None:
    """What Docker would build from: the model, and an installation of what it requires."""
    made = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile"]
    done = subprocess.run(
        [*made, "-m", place / "model", "-d", tmp_path / "image"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "COPY model_dir" in (tmp_path / "image" / "Dockerfile").read_text()
    (required,) = (tmp_path / "image").rglob("requirements.txt")
    names = {line.partition("==")[0] for line in required.read_text().split()}
    assert {"mlflow", "torch", "transformers"} <= names
    assert "clipfit-study" not in names
    (code,) = (tmp_path / "image").rglob("code")
    assert (code / "study" / "serving" / "classifier.py").is_file()
    assert list(code.rglob("glyph-clip/*.safetensors")), "the embedded backbone travels with it"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_mlflow_serves_it_in_an_environment_of_its_own(place: Path, tmp_path: Path) -> None:
    """It downloads the libraries; UV_FIND_LINKS may name a folder with PyTorch for CPUs alone."""
    programs = with_libraries(tmp_path)
    environment = {
        **outside(),
        "PATH": f"{programs}:{os.environ['PATH']}:{Path(sys.executable).parent}",
    }
    command: list[str | Path] = [
        *(programs / "python", "-m", "mlflow", "models", "predict", "--env-manager", "uv"),
        *("-m", place / "model", "-i", place / "images.json", "-o", tmp_path / "answer.json"),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "envs/virtualenv_envs" in done.stderr, "made by uv, from the requirements alone"
    found = json.loads((tmp_path / "answer.json").read_text())
    assert_equal(found["predictions"], place)
