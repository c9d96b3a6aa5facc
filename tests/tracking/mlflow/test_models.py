"""A registered model read back without its code: what a study registered, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from study.errors import DeltaError, TrackingError
from study.serving.saved_model import read_best_model
from study.tracking.mlflow.models import download_model
from tests.tracking.mlflow.conftest import Registered
from tests.tracking_server import mlflow_at

CHAMPION, FIRST = "models:/clipfit-digits@champion", "models:/clipfit-digits/1"
IMAGES = [Image.linear_gradient("L"), Image.radial_gradient("L")]


@pytest.fixture(scope="module")
def registered(register_in_own_store: Callable[..., Registered]) -> Registered:
    return register_in_own_store("mine", linear=True)


@pytest.fixture
def store(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)
    return registered.uri


@pytest.fixture
def place(registered: Registered) -> Iterator[Path]:
    """The folder of the model in the store, which has its files back afterwards."""
    folder = Path(registered.version.source)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    for path, contents in files.items():
        path.write_bytes(contents)


@pytest.mark.parametrize("address", [CHAMPION, FIRST])
def test_it_is_the_best_configuration_that_the_study_itself_has(
    registered: Registered, store: str, tmp_path: Path, address: str
):
    own = read_best_model(registered.study.study)
    saved = download_model(address, tmp_path)
    assert saved.info == own.info
    for name in ("subset", "head", "alpha"):
        assert getattr(saved.settings, name) == getattr(own.settings, name)
    assert saved.name == "models:/clipfit-digits/1, of study 'mine' (trial test-best-seed1)"
    with mlflow_at(store):
        theirs = mlflow.pyfunc.load_model(address).predict(IMAGES)["probabilities"]
    for model in (saved, own):
        classifier = model.load_classifier()
        rows = classifier.probabilities(IMAGES).tolist()
        assert [dict(zip(classifier.class_names, row, strict=True)) for row in rows] == [*theirs]


@pytest.mark.long
@pytest.mark.ci
def test_a_server_takes_a_model_and_gives_it_to_whoever_asks(
    registered: Registered, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sent = Registered(registered.study, mlflow_server)
    assert sent.version.source.startswith("mlflow-artifacts:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert download_model(sent.registration.uri, tmp_path).load_classifier().class_names


@pytest.mark.usefixtures("store")
def test_no_code_of_the_model_runs(place: Path, tmp_path: Path):
    (code,) = place.glob("*.py")
    code.write_text("raise SystemExit('code of a stranger')")
    assert download_model(FIRST, tmp_path / "model").load_classifier()
    files = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert files == {"delta.safetensors"}


@pytest.mark.parametrize(
    "address, reason",
    [
        ("models:/clipfit-digits", "is not the address of .*; expected models:/NAM"),
        ("models:/clipfit-digits/1/artifacts", "is not the address"),
        ("models:/clipfit-pets/1", "not found; registered models: 'clipfit-digits"),
        ("models:/clipfit-digits@best", "alias best not found"),
    ],
)
def test_a_model_that_does_not_exist_is_named_with_those_that_do(
    store: str, tmp_path: Path, address: str, reason: str
):
    with pytest.raises(DeltaError, match=reason) as refused:
        download_model(address, tmp_path)
    assert address in str(refused.value)


def test_a_model_without_a_delta_or_with_a_damaged_one_is_refused(
    store: str, place: Path, tmp_path: Path
):
    delta = place / "artifacts/delta.safetensors"
    delta.write_bytes(delta.read_bytes()[:-9])
    with pytest.raises(DeltaError, match="damaged"):
        download_model(FIRST, tmp_path / "damaged")
    delta.unlink()
    with pytest.raises(TrackingError, match="cannot provide models:/clipfit-digits/1"):
        download_model(FIRST, tmp_path / "missing")


def test_a_store_or_server_that_is_away_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=r"/mlflow\.db does not exist; set MLFLOW_TRACK"):
        download_model(FIRST, tmp_path / "model")
    assert not any(tmp_path.iterdir()), "no store is made"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"\*\*\*@127.0.0.1:9 cannot provide") as caught:
        download_model(FIRST, tmp_path)
    assert "s3cret" not in str(caught.value)
