"""The champion in use: loaded by one line, with any form of image, and served over HTTP."""

import io
import re
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.data.datasets import load_dataset
from study.data.images.sources import encode_base64
from study.errors import DataError, DeltaError
from study.method.device import gpu_kind
from study.tracking.mlflow.registry import register_winner
from study.tracking.mlflow.study_run import StudyRun
from tests.serving_over_http import ask, served

CHAMPION = "models:/clipfit-digits@champion"
ENOUGH = 0.7
"""Zero-shot gets 0.67 of the test digits right."""


def digits(count: int) -> tuple[list[Image.Image], list[str]]:
    """The first test digits, and their class names."""
    dataset = load_dataset("digits")
    records = dataset.test[:count]
    images = [dataset.source.open_image(record.path) for record in records]
    return images, [dataset.class_names[record.label] for record in records]


@pytest.fixture(scope="module")
def champion(
    finish: Callable[..., Any],
    new_store: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The store of a registered study, which MLflow is told of as a user would."""
    place = tmp_path_factory.mktemp("served")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(place)
    uri = new_store(place)
    study = finish(place, "served")
    own_run = StudyRun(study.study, uri)
    register_winner(own_run)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)
    monkeypatch.undo()


def test_any_form_of_image_gives_the_same_class(champion: str, tmp_path: Path) -> None:
    model = mlflow.pyfunc.load_model(CHAMPION)
    images, _ = digits(1)
    picture = images[0]
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    file = tmp_path / "digit.png"
    picture.save(file)
    grey = np.asarray(picture.convert("L"))
    given = [
        picture,
        buffer.getvalue(),
        file,
        str(file),
        encode_base64(picture),
        grey,
        grey.tolist(),
    ]
    told = model.predict(given)
    assert set(told["class_name"]) == {told["class_name"][0]}
    assert told["probability"].std() == pytest.approx(0, abs=1e-6)
    for column in ([picture, picture], [grey, grey], [encode_base64(picture)] * 2):
        frame = model.predict(pd.DataFrame({"image": column}))
        assert list(frame["class_name"]) == [told["class_name"][0]] * 2


def test_one_image_needs_no_list(
    champion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mlflow.pyfunc.load_model(CHAMPION)
    picture = digits(1)[0][0]
    monkeypatch.chdir(tmp_path)
    picture.save("one.png")
    expected = model.predict(["one.png"])
    contents = Path("one.png").read_bytes()
    for one in ("one.png", Path("one.png"), contents, picture, np.asarray(picture)):
        assert model.predict(one).equals(expected)
    for several in (("one.png", "one.png"), pd.Series(["one.png", "one.png"])):
        assert list(model.predict(several)["class_name"]) == [*expected["class_name"]] * 2
    with pytest.raises(mlflow.MlflowException, match=r"image 0: none\.png: no such image"):
        model.predict("none.png")


def test_new_class_names_are_given_at_load_time(champion: str) -> None:
    names = ["digit zero", "letter x"]
    model = mlflow.pyfunc.load_model(CHAMPION, model_config={"class_names": names})
    images, labels = digits(200)
    zeros = [image for image, label in zip(images, labels, strict=True) if label == "digit zero"]
    told = model.predict(zeros)
    assert set(told["probabilities"][0]) == set(names)
    assert (told["class_name"] == "digit zero").mean() > 0.9


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_names": "cat"}, "class_names is 'cat'; allowed is a list of 2 or more texts"),
        ({"class_names": []}, "class_names is []; allowed is a list of 2 or more texts"),
        ({"templates": "a {}."}, "templates is 'a {}.'; allowed is a list of 1 or more texts"),
        *(
            pytest.param(
                {"device": name},
                f"device '{name}' cannot be used here (PyTorch finds no {name.upper()} on this "
                "machine); allowed here are auto, cpu",
                marks=pytest.mark.skipif(gpu_kind() == name, reason="this machine has one"),
            )
            for name in ("cuda", "mps")
        ),
    ],
)
def test_what_cannot_be_set_at_load_time_is_told_in_one_line(
    champion: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}") as refused:
        mlflow.pyfunc.load_model(CHAMPION, model_config=config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no/such.png", "no/such.png: no such image"),
        (b"no image", "8 bytes: not a readable image"),
        (np.zeros((8, 8)), "float64"),
        (np.full((8, 8), 300), "from 0 to 255"),
        ([[1, 2], [3]], "different lengths"),
        (3.5, "got float"),
    ],
)
def test_what_is_no_image_is_told_with_its_place(champion: str, image: Any, message: str) -> None:
    model = mlflow.pyfunc.load_model(CHAMPION)
    with pytest.raises(mlflow.MlflowException, match=f"image 1: .*{message}"):
        model.predict([digits(1)[0][0], image])


def test_an_artifact_refuses_another_backbone(champion: str, tiny_backbone: Path) -> None:
    with pytest.raises(DeltaError, match=f"'embedded' .*'{tiny_backbone}'"):
        mlflow.pyfunc.load_model(CHAMPION, model_config={"backbone": str(tiny_backbone)})


@pytest.mark.long
def test_the_champion_is_served_over_http_and_gets_the_digit_right(
    champion: str, tmp_path: Path
) -> None:
    images, names = digits(40)
    with served(CHAMPION, champion, tmp_path / "serve.log") as address:
        rows = ask(address, [encode_base64(image) for image in images])
        (alone,) = ask(address, encode_base64(images[0]))
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, "/etc/passwd")
    assert alone["probabilities"] == pytest.approx(rows[0]["probabilities"], abs=1e-5)
    right = [row["class_name"] == name for row, name in zip(rows, names, strict=True)]
    assert sum(right) / len(right) > ENOUGH
    surest = max(range(len(rows)), key=lambda index: rows[index]["probability"])
    assert right[surest]
    assert refused.value.code == 400
    assert "paths are not opened here" in refused.value.read().decode()
