"""The champion in use: loaded by one line, with any form of image.

That it is served over HTTP is in `tests/test_first_hour.py`. What a classifier refuses is in
`tests/serving/test_classifier.py`, and the forms of images are in
`tests/data/images/test_sources.py`.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.pyfunc import scoring_server
from PIL import Image

from study import tracking
from study.data.datasets import load_dataset
from study.errors import DeltaError
from tests.tracking.mlflow.conftest import Registered
from tests.tracking_server import mlflow_at

CHAMPION = "models:/clipfit-digits@champion"


@pytest.fixture
def picture() -> Image.Image:
    """A digit of the test images."""
    dataset = load_dataset("digits")
    return dataset.source.open_image(dataset.test[0].path)


@pytest.fixture(scope="module")
def champion(register_in_own_store: Callable[..., Registered]) -> Iterator[str]:
    """The store of a registered study, which MLflow is notified of as a user would."""
    uri = register_in_own_store("served").uri
    with mlflow_at(uri):
        yield uri


@pytest.fixture(scope="module")
def model(champion: str) -> Any:
    return mlflow.pyfunc.load_model(CHAMPION)


def test_the_example_of_the_page_runs(
    champion: str, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = Path(tracking.__file__).with_name("README.md").read_text()
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", page)
    picture.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    encoded = (tmp_path / "photo.png").read_bytes()
    array = np.asarray(picture.convert("L"))
    exec(block, {"image_bytes": encoded, "pil_image": picture, "array": array})


def test_new_class_names_are_given_at_load_time(champion: str, picture: Image.Image):
    names = ["digit zero", "letter x"]
    renamed = mlflow.pyfunc.load_model(CHAMPION, model_config={"class_names": names})
    assert {*renamed.predict([picture])["probabilities"][0]} == {*names}


def test_what_cannot_be_used_is_reported_in_one_line(
    model: Any, picture: Image.Image, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(DeltaError, match=f"'embedded' .*'{tiny_backbone}'"):
        mlflow.pyfunc.load_model(CHAMPION, model_config={"backbone": str(tiny_backbone)})
    with pytest.raises(mlflow.MlflowException, match=r"image 0: none\.png: no such image"):
        model.predict("none.png")
    with pytest.raises(mlflow.MlflowException, match=r"image 1: .*got float"):
        model.predict([picture, 3.5])
    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, "model")
    served = mlflow.pyfunc.load_model(CHAMPION)
    with pytest.raises(mlflow.MlflowException, match="paths are not opened here"):
        served.predict("/etc/passwd")
