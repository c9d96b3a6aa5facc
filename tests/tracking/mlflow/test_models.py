"""A registered model read back without its code: what a study registered, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from PIL import Image

from study.errors import DeltaError, TrackingError
from study.serving.saved_model import read_winner
from study.tracking.mlflow.models import download_registered_model
from tests.case_tables import from_table
from tests.told_of_server import told_of_server
from tests.tracking.mlflow.conftest import Registered

CHAMPION, FIRST = "models:/clipfit-digits@champion", "models:/clipfit-digits/1"
IMAGES = [Image.linear_gradient("L"), Image.radial_gradient("L")]


@pytest.fixture(scope="module")
def registered(register_in_own_store: Callable[..., Registered]) -> Registered:
    return register_in_own_store("mine", linear=True)


@pytest.fixture
def store(registered: Registered) -> str:
    return registered.uri


@pytest.fixture
def place(registered: Registered) -> Iterator[Path]:
    """The folder of the model in the store, which has its files back afterwards."""
    folder = Path(registered.version.source)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    for path, contents in files.items():
        path.write_bytes(contents)


def rewrite(place: Path, *without: str, **changes: Any):
    """Change the configuration of a model, and take values out of it."""
    described = yaml.safe_load((place / "MLmodel").read_text())
    config = described["flavors"]["python_function"]["config"]
    config.update(changes)
    for name in without:
        del config[name]
    (place / "MLmodel").write_text(yaml.safe_dump(described))


@pytest.mark.parametrize("address", [CHAMPION, FIRST])
def test_it_is_the_winner_that_the_study_itself_has(
    registered: Registered, store: str, tmp_path: Path, address: str
):
    (tmp_path / "scratch").mkdir()
    own = read_winner(registered.study.study, tmp_path / "scratch")
    saved = download_registered_model(store, address, tmp_path / "model")
    assert saved.delta.read_bytes() == own.delta.read_bytes()
    assert saved.info == own.info
    for name in ("subset", "head", "strength"):
        assert getattr(saved.settings, name) == getattr(own.settings, name)
    assert saved.name == ("models:/clipfit-digits/1, of study 'mine' (trial test-best-seed1)")


@pytest.fixture
def turn_to() -> Iterator[Callable[[str], None]]:
    """Tell the whole process of a server, as a user would, until the test ends."""
    with told_of_server(mlflow.get_tracking_uri()):
        yield mlflow.set_tracking_uri


def test_probabilities_are_those_of_the_model_that_mlflow_loads(
    store: str, tmp_path: Path, turn_to: Callable[[str], None]
):
    turn_to(store)
    theirs = mlflow.pyfunc.load_model(CHAMPION).predict(IMAGES)["probabilities"]
    classifier = download_registered_model(store, CHAMPION, tmp_path).load_classifier()
    rows = classifier.probabilities(IMAGES).tolist()
    assert [dict(zip(classifier.class_names, row, strict=True)) for row in rows] == [*theirs]


def test_no_code_of_the_model_runs_and_the_processs_own_server_is_not_asked(
    store: str, place: Path, tmp_path: Path, turn_to: Callable[[str], None]
):
    (code,) = place.glob("*.py")
    code.write_text("raise SystemExit('code of a stranger')")
    turn_to(f"sqlite:///{tmp_path / 'other.db'}")
    assert download_registered_model(store, FIRST, tmp_path / "model").load_classifier()
    assert not (tmp_path / "other.db").exists()
    files = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert files == {"MLmodel", "delta.safetensors"}


def test_the_configuration_of_the_model_comes_before_that_of_its_delta(
    store: str, place: Path, tmp_path: Path
):
    names = ["a", "b"]
    rewrite(place, class_names=names, templates=["{}"], revision="r1", pixel_range=[0, 9])
    info = download_registered_model(store, FIRST, tmp_path).info
    assert (info.class_names, info.templates) == (("a", "b"), ("{}",))
    assert (info.revision, info.reading.pixel_range, info.backbone) == ("r1", (0, 9), "embedded")


@from_table
def test_what_is_not_there_is_told_with_what_is(
    store: str, tmp_path: Path, address: str, told: str
):
    with pytest.raises(DeltaError, match=told) as refused:
        download_registered_model(store, address, tmp_path)
    assert address in str(refused.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "MLmodel").write_text("flavors: {}"),
        lambda place: (place / "MLmodel").write_text("!!python/object/apply:os.abort []"),
        lambda place: rewrite(place, "templates"),
        lambda place: rewrite(place, pixel_range="all"),
    ],
    ids=["no flavour", "an object", "no templates", "range"],
)
def test_a_model_that_no_study_registered_is_refused(
    store: str, place: Path, tmp_path: Path, damage: Callable[[Path], None]
):
    damage(place)
    with pytest.raises(DeltaError, match="is no model that a study has registered"):
        download_registered_model(store, FIRST, tmp_path)


def test_a_model_without_a_delta_is_refused(store: str, place: Path, tmp_path: Path):
    (place / "artifacts/delta.safetensors").unlink()
    with pytest.raises(TrackingError, match="does not give models:/clipfit-digits/1"):
        download_registered_model(store, FIRST, tmp_path)


@pytest.mark.long
def test_a_server_takes_a_model_and_gives_it_to_whoever_asks(
    registered: Registered, mlflow_server: str, tmp_path: Path
):
    sent = Registered(registered.study, mlflow_server)
    assert sent.version.source.startswith("mlflow-artifacts:")
    saved = download_registered_model(mlflow_server, sent.registration.uri, tmp_path)
    own = registered.study.folder.trial("test-best-seed1").path / "delta.safetensors"
    assert saved.delta.read_bytes() == own.read_bytes()


def test_a_server_that_is_away_is_told_without_its_password(tmp_path: Path):
    uri = "http://me:s3cret@127.0.0.1:9"
    with pytest.raises(TrackingError, match=r"\*\*\*@127.0.0.1:9 does not give") as told:
        download_registered_model(uri, FIRST, tmp_path)
    assert "s3cret" not in str(told.value)
