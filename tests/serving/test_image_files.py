"""Folders are searched for images in a fixed order, and a link is followed once."""

from pathlib import Path

import pytest

from study.serving.image_files import list_image_files
from tests.data.reading import add


def test_a_folder_is_walked_in_sorted_order_and_links_are_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "set"
    wanted = ["B.PNG", "a/10.jpeg", "a/9.webp", "a/b/0.tif", "a.gif", "b.JFIF", "c.jpe"]
    add(root, *wanted, "notes.txt", "png", ".hidden.png", "a/x.npy")
    add(root, ".folder/1.png", "__MACOSX/2.png", "../elsewhere/2.png")
    (root / "empty").mkdir()
    (root / "a" / "up").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    for name in ("y", "z"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    images, left_out = list_image_files(root)
    assert [path.relative_to(root).as_posix() for path in images] == [*wanted, "y/2.png"]
    assert left_out == {".txt": 1, "": 2, ".npy": 1}
    monkeypatch.chdir(root)
    assert list_image_files(Path("a"))[0][0] == Path("a/10.jpeg"), "as the folder was named"
