"""A registered model is served where this package is not installed, by the code beside it."""

import ast
import json
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import mlflow
import pytest

from study.backbones.description import read_architecture
from study.data.datasets import load_dataset
from study.data.images.sources import encode_base64
from study.embedded import EMBEDDED, backbone_path
from study.tracking.mlflow.registry import LIBRARIES, TOKENIZERS, requirements
from tests.environments import outside, with_libraries
from tests.openclips import write_open_clip
from tests.siglips import save_siglip
from tests.tracking.mlflow.conftest import Registered

SERVE = """\
import json, sys
from importlib.util import find_spec
package = find_spec("study")
assert package is None or package.origin is None  # an editable installation left its data
import mlflow
found = mlflow.pyfunc.load_model("model").predict(json.load(open("images.json")))
import study
own = {n: m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "study"}
print("ANSWER", json.dumps([study.__file__, own, found.to_dict("records")]))
"""


@pytest.mark.long
@pytest.mark.ci
def test_a_model_answers_where_the_package_is_not_and_requires_all_that_it_imports(
    finish: Any, store: str, tmp_path: Path
):
    registered = Registered(finish(tmp_path, "registered", linear=True), store)
    place = tmp_path / "carried"
    shutil.copytree(registered.version.source, place / "model")
    dataset = load_dataset("digits")
    images = [encode_base64(dataset.source.open_image(record.path)) for record in dataset.test[:20]]
    (place / "images.json").write_text(json.dumps(images))
    python = with_libraries(tmp_path / "libraries") / "python"
    done = subprocess.run(
        [python, "-c", SERVE], cwd=place, env=outside(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = (x for x in done.stdout.splitlines() if x.startswith("ANSWER "))
    package, modules, rows = json.loads(line.removeprefix("ANSWER "))
    assert Path(package).is_relative_to(place / "model" / "code")
    assert all(Path(file).is_relative_to(place) for file in modules.values())
    own = mlflow.pyfunc.load_model(str(place / "model")).predict(images).to_dict("records")
    for row, other in zip(rows, own, strict=True):
        assert row["class_name"] == other["class_name"]
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)

    imported = set[str]()
    for file in modules.values():
        for node in ast.parse(Path(file).read_text()).body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    distributions = packages_distributions()
    for name in imported - set(sys.stdlib_module_names) - {"study"}:
        assert {own.lower() for own in distributions[name]} & {*LIBRARIES}, name
    written = (place / "model" / "requirements.txt").read_text().split()
    assert written == requirements(read_architecture(backbone_path(EMBEDDED)))
    assert not [line for line in written if "clipfit" in line or "+" in line]


def test_what_reads_a_vocabulary_is_required_where_a_backbone_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_open_clip(tmp_path / "open_clip", {})
    siglip = read_architecture(save_siglip(tmp_path / "siglip"))
    open_clip = read_architecture(tmp_path / "open_clip")
    for architecture, needed in (
        (siglip, {"protobuf", "sentencepiece"}),
        (open_clip, {"open_clip_torch"}),
    ):
        names = {line.partition("=")[0] for line in requirements(architecture)}
        assert names - set(LIBRARIES) == needed
    monkeypatch.setitem(TOKENIZERS, "siglip", ("not-installed-anywhere",))
    assert len(requirements(siglip)) == len(LIBRARIES)
