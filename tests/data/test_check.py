import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from study.data.check import main
from study.data.datasets import DATASET_NAMES

NAMES = [name for name in DATASET_NAMES if name not in ("digits", "glyphs")]
Told = Callable[..., tuple[int, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """Run the command; give its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str]:
        return main([str(argument) for argument in arguments]), capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_dataset_passes_with_its_counts(
    name: str, told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    miniature.make(name, tmp_path, classes=4, counts=(3, 2, 1))
    code, text = told(name, tmp_path, "--images")
    assert code == 0, text
    assert "every image was decoded" in text
    row = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
    counts = [int(cell) for cell in row.split("│")[2:6]]
    shift = {"imagenetv2": 4, "imagenet_sketch": 4, "imagenet_a": 2, "imagenet_r": 2}.get(name)
    if shift:
        assert counts == [shift, 0, 0, shift]
    else:
        assert counts == [4, 12, 0 if name == "imagenet" else 8, 4]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_image_fails_and_is_named(
    name: str, told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    if name.startswith("imagenet"):
        pytest.skip("has no list that an image could be missing from")
    folder = miniature.make(name, tmp_path)
    lost = sorted((*folder.rglob("*.jpg"),))[-1]
    lost.unlink()
    code, text = told(name, tmp_path)
    assert code == 1
    assert f"{lost.relative_to(folder)}: missing" in text
    assert "DATASETS.md" in text


def test_a_missing_list_fails_and_is_named(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    (miniature.make("dtd", tmp_path) / "split_zhou_DescribableTextures.json").unlink()
    code, text = told("dtd", tmp_path)
    assert code == 1
    assert "split_zhou_DescribableTextures.json is missing; looked in" in text


def test_a_missing_class_folder_fails_and_is_named(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make("imagenet_sketch", tmp_path)
    for image in (folder / "images" / "n01443537").iterdir():
        image.unlink()
    (folder / "images" / "n01443537").rmdir()
    code, text = told("imagenet_sketch", tmp_path)
    assert code == 1
    assert "images/n01443537: class folder is missing" in text


def test_the_counts_are_printed_even_if_all_images_are_missing(
    told: Told, coop_splits: Path, tmp_path: Path
) -> None:
    (tmp_path / "oxford_pets").mkdir()
    name = "split_zhou_OxfordPets.json"
    (tmp_path / "oxford_pets" / name).symlink_to(coop_splits / name)
    code, text = told("oxford_pets", tmp_path)
    assert code == 1
    assert "│      37 │ 2,944 │ 736 │ 3,669 │" in text
    assert "images: image folder is missing; looked in" in text
    assert "as published" not in text


def test_only_decoding_finds_an_image_that_is_cut(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make("dtd", tmp_path)
    image = folder / "images" / "banded" / "banded_0001.jpg"
    image.write_bytes(image.read_bytes()[:300])
    assert told("dtd", tmp_path)[0] == 0
    code, text = told("dtd", tmp_path, "--images")
    assert code == 1
    assert "banded_0001.jpg: not a readable image" in text
    image.write_bytes(b"")
    assert "banded_0001.jpg: empty file" in told("dtd", tmp_path)[1]


def test_a_link_out_of_the_folder_fails(told: Told, miniature: ModuleType, tmp_path: Path) -> None:
    image = miniature.make("dtd", tmp_path / "data") / "images" / "banded" / "banded_0001.jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    code, text = told("dtd", tmp_path / "data")
    assert code == 1
    assert "leads out of the dataset's folder" in text


def test_a_packaged_dataset_needs_no_root(told: Told) -> None:
    code, text = told("digits")
    assert code == 0
    (row,) = [line for line in text.splitlines() if line.startswith("│ digits")]
    assert [cell.strip() for cell in row.split("│")] == ["", "digits", "10", "896", "0", "901", ""]


def test_a_dataset_of_ones_own_passes(told: Told, miniature: ModuleType, tmp_path: Path) -> None:
    for number in range(10):
        miniature.save(tmp_path / "ab"[number % 2] / f"{number}.jpg", number % 2, number)
    assert told("mine", tmp_path, "--images")[0] == 0


def test_the_command_runs_as_a_module(miniature: ModuleType, tmp_path: Path) -> None:
    miniature.make("eurosat", tmp_path)
    command = [sys.executable, "-m", "study.data.check", "eurosat", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "eurosat" in done.stdout
    done = subprocess.run(
        [*command[:-1], str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_folder_that_the_dataset_would_not_be_read_from_is_refused(
    told: Told, tmp_path: Path
) -> None:
    code, text = told("digits", tmp_path)
    assert code == 1
    assert "'digits'" in text
    assert str(tmp_path) in text
    assert told("digits")[0] == 0


def test_a_split_without_images_fails_and_is_named(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    shutil.rmtree(miniature.make("imagenet", tmp_path) / "images" / "val")
    code, text = told("imagenet", tmp_path)
    assert code == 1
    assert "no test images" in text
    assert "images/val: image folder is missing" in text


@pytest.mark.parametrize("name", ["imagenet_a", "imagenetv2"])
def test_a_class_folder_without_images_fails_and_is_named(
    name: str, told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = next(miniature.make(name, tmp_path).glob("imagenet*"))
    emptied = sorted(place for place in folder.iterdir() if place.is_dir())[-1]
    for image in emptied.iterdir():
        image.unlink()
    code, text = told(name, tmp_path)
    assert code == 1
    assert f"{folder.name}/{emptied.name}: class folder is missing or empty" in text


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_subset_that_was_not_all_unpacked_fails(
    name: str, told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    folder = miniature.make(name, tmp_path, classes=400, counts=(0, 0, 1))
    listing = folder / "classnames.txt"
    assert told(name, tmp_path)[0] == 0
    more = "".join(f"n8{number:07d} other {number}\n" for number in range(600))
    listing.write_text(listing.read_text() + more)
    code, text = told(name, tmp_path)
    assert code == 0
    assert "these are not the published counts" in text
    shutil.rmtree(sorted(folder.glob("imagenet-*/n*"))[-1])
    code, text = told(name, tmp_path)
    assert code == 1
    assert "(1 of 200): class folder is missing" in text


def test_a_folder_in_the_place_of_an_image_fails(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    image = miniature.make("dtd", tmp_path) / "images" / "banded" / "banded_0001.jpg"
    image.unlink()
    image.mkdir()
    code, text = told("dtd", tmp_path)
    assert code == 1
    assert "banded_0001.jpg: not a file" in text


def test_a_link_to_itself_fails_and_is_named(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    image = miniature.make("dtd", tmp_path) / "images" / "banded" / "banded_0001.jpg"
    image.unlink()
    image.symlink_to(image)
    for options in ([], ["--images"]):
        code, text = told("dtd", tmp_path, *options)
        assert code == 1
        assert "banded_0001.jpg: is a broken link" in text


@pytest.fixture
def pets(miniature: ModuleType, tmp_path: Path) -> Path:
    """An image folder of two classes."""
    for number in range(10):
        miniature.save(tmp_path / "pets" / "ab"[number % 2] / f"{number}.png", number % 2, number)
    return tmp_path / "pets"


def asked(*arguments: object) -> tuple[int, str]:
    """Run the command as a process."""
    command = [sys.executable, "-m", "study.data.check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def table_of(folder: Path) -> Path:
    """List the images of a folder in a table."""
    rows = sorted(
        f"{file.parent.name}/{file.name},{file.parent.name}" for file in folder.rglob("*.png")
    )
    (folder / "images.csv").write_text("\n".join(["path,class_name", *rows]))
    return folder / "images.csv"


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("options", [[], ["--images"]])
def test_a_pipe_and_a_socket_among_images_fail_and_are_named(
    options: list[str], listed: bool, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(pets / "a" / "pipe.png")
    monkeypatch.chdir(pets / "b")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    code, text = asked("pets", table_of(pets) if listed else pets, *options)
    assert code == 1
    assert "a/pipe.png: not a file but a named pipe" in text
    assert "b/socket.png: not a file but a socket" in text
    assert "2 faults" in text


def test_a_link_to_a_device_among_images_fails_and_is_named(pets: Path) -> None:
    (pets / "a" / "zero.png").symlink_to("/dev/zero")
    code, text = asked("pets", pets, "--images")
    assert code == 1
    assert "a/zero.png: a symbolic link leads out of the dataset's folder" in text


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ""])
def test_a_dataset_that_is_a_pipe_or_a_device_fails_and_is_named(
    suffix: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a named pipe"), ("zero", "a device")):
        code, text = asked("pets", tmp_path / f"{name}{suffix}")
        assert code == 1
        assert f"{name}{suffix}: not a file but {kind}" in text


@pytest.mark.parametrize("place", ["loop", "a/loop", "train/loop"])
def test_a_folder_that_links_to_itself_fails_and_is_named(place: str, pets: Path) -> None:
    if place.startswith("train"):
        shutil.copytree(pets, pets.with_name("split") / "train")
        shutil.copytree(pets, pets.with_name("split") / "test")
        pets = pets.with_name("split")
    (pets / place).symlink_to(pets / place)
    code, text = asked("pets", pets, "--images")
    assert code == 1
    assert f"{pets / place}: is a broken link" in text


def test_a_folder_of_the_fields_layout_that_links_to_itself_fails_and_is_named(
    miniature: ModuleType, tmp_path: Path
) -> None:
    place = miniature.make("imagenet", tmp_path) / "images" / "train" / "n99999999"
    place.symlink_to(place)
    code, text = asked("imagenet", tmp_path)
    assert code == 1
    assert "n99999999: is a broken link" in text


def test_dark_images_are_asked_about_with_their_highest_value(told: Told, pets: Path) -> None:
    for number, file in enumerate(sorted(pets.rglob("*.png"))):
        Image.fromarray(np.full((4, 4), 4000 + number, np.uint16)).save(file)
    code, text = told("pets", pets, "--images")
    assert code == 0
    assert "pets: its 16-bit images are nearly black: their highest value is 4009" in text
    assert "data.pixel_range=[0, 4095]" in text
    code, text = told("pets", pets, "--images", "--pixel-range", 0, 4095)
    assert code == 0
    assert "nearly black" not in text


def test_images_of_no_known_range_fail_unless_one_is_given(told: Told, pets: Path) -> None:
    for file in pets.rglob("*.png"):
        Image.fromarray(np.full((4, 4), -300, np.int32)).save(file, "TIFF")
    code, text = told("pets", pets, "--images")
    assert code == 1
    assert "nothing says which are black and white" in text
    assert told("pets", pets, "--images", "--pixel-range", -1000, 400)[0] == 0
    code, text = told("pets", pets, "--images", "--pixel-range", 400, -1000)
    assert code == 1
    assert "two finite numbers, the lower one first" in text


def test_the_folders_of_cars_may_be_links_and_are_named_if_missing(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    cars = miniature.make("stanford_cars", tmp_path / "data") / "cars_test"
    cars.rename(tmp_path / "elsewhere")
    code, text = told("stanford_cars", tmp_path / "data")
    assert code == 1
    assert "cars_test: image folder is missing; looked in" in text
    cars.symlink_to(tmp_path / "elsewhere")
    assert told("stanford_cars", tmp_path / "data")[0] == 0


def test_a_class_without_training_images_fails_and_is_named(
    told: Told, miniature: ModuleType, tmp_path: Path
) -> None:
    file = miniature.make("dtd", tmp_path) / "split_zhou_DescribableTextures.json"
    content = json.loads(file.read_text())
    content["train"] = [row for row in content["train"] if row[2] != "bubbly"]
    file.write_text(json.dumps(content))
    code, text = told("dtd", tmp_path)
    assert code == 1
    assert "no train images of 'bubbly'" in text


@pytest.fixture
def nobody() -> Iterator[None]:
    """Give up the rights of an administrator, who may read everything, for a while."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    yield
    if root:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder below the system's own; pytest's is closed to others."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.parametrize(
    ("name", "locked", "expected"),
    [
        ("dtd", "images/banded/banded_0001.jpg", "banded_0001.jpg: may not be read"),
        ("dtd", "images/banded", "Permission denied"),
        ("dtd", "split_zhou_DescribableTextures.json", "Textures.json: cannot be read"),
        ("imagenet_a", "imagenet-a/n01443537", "n01443537: may not be listed"),
        ("imagenet_a", "imagenet-a", "imagenet-a: may not be listed"),
    ],
)
def test_what_may_not_be_read_fails_and_is_named(
    name: str,
    locked: str,
    expected: str,
    told: Told,
    miniature: ModuleType,
    open_place: Path,
    request: pytest.FixtureRequest,
) -> None:
    place = miniature.make(name, open_place) / locked
    place.chmod(0)
    request.getfixturevalue("nobody")
    code, text = told(name, open_place)
    assert code == 1
    assert expected in text


def test_an_image_that_a_study_would_refuse_for_its_shape_fails_as_well(pets: Path) -> None:
    path = sorted(pets.rglob("*.png"))[0]
    Image.new("RGB", (300, 1)).save(path)
    code, output = asked("mine", pets, "--images")
    assert code == 1
    assert path.name in output
    assert "300 × 1 pixels" in output
