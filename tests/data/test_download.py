"""Published datasets from a server: what is written where, and what is refused."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from study.data.datasets import load_dataset
from study.data.download import fetch_benchmark
from study.data.readers.benchmarks import BENCHMARKS, Benchmark, Download
from study.errors import DataError
from tests.miniature import make

CALTECH = BENCHMARKS["caltech101"]


class Served(SimpleHTTPRequestHandler):
    """Files of a folder, from the byte that is asked for, as far as the server can."""

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        begin = int((self.headers["Range"] or "bytes=0-")[6:-1])
        data = path.read_bytes()
        if begin >= len(data):
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Type", "text/html" if path.suffix == ".html" else "image/x")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        return io.BytesIO(data[begin:])

    def log_message(self, *_: object):
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def caltech(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[Download]]:
    """Serve a miniature of Caltech101 as it is published: a tar file with links in a zip file."""
    folder, address = served
    made = make("caltech101", tmp_path / "made", classes=4)
    inner = tmp_path / "101_ObjectCategories.tar.gz"
    with tarfile.open(inner, "w:gz") as packed:
        packed.add(made / "101_ObjectCategories", "101_ObjectCategories")
        for name, link in (("link", "/etc"), ("../../../x", "")):
            member = tarfile.TarInfo(f"101_ObjectCategories/{name}")
            member.linkname = link
            if link:
                member.type = tarfile.SYMTYPE
            packed.addfile(member)
    archive = folder / "caltech-101.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("caltech-101/README", "read me")
        zipped.write(inner, "caltech-101/101_ObjectCategories.tar.gz")
    (made / "split_zhou_Caltech101.json").rename(folder / "split.json")
    images, split = CALTECH.downloads
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    downloads = [
        images._replace(url=f"{address}/caltech-101.zip", md5=md5),
        split._replace(url=f"{address}/split.json"),
    ]
    changed = Benchmark(CALTECH.layout, CALTECH.counts, "as told", downloads=downloads)
    monkeypatch.setitem(BENCHMARKS, "caltech101", changed)
    return folder, downloads


def test_a_dataset_is_fetched_into_the_folders_of_its_reader(
    caltech: tuple[Path, list[Download]], tmp_path: Path
):
    folder, (images, split) = caltech
    root = tmp_path / "root"
    root.mkdir()
    begun = (folder / "caltech-101.zip").read_bytes()[:100]
    (root / ".caltech101-0.part").write_bytes(begun)  # an interrupted download goes on
    digests = fetch_benchmark("caltech101", root)
    assert list(digests) == [images.url, split.url]
    assert (
        digests[images.url] == hashlib.sha256((folder / "caltech-101.zip").read_bytes()).hexdigest()
    )
    dataset = load_dataset("caltech101", root)
    assert (len(dataset.class_names), len(dataset.test)) == (4, 8)
    written = [path for path in root.rglob("*") if path.is_symlink() or path.name == "x"]
    assert written == []
    assert sorted(path.name for path in root.iterdir()) == ["caltech-101"]
    assert fetch_benchmark("caltech101", root) == {}  # what is there is left alone


def test_what_is_not_the_published_file_is_refused(
    caltech: tuple[Path, list[Download]], served: tuple[Path, str], tmp_path: Path
):
    root, address = tmp_path / "root", served[1]
    (served[0] / "page.html").write_text("too many have asked for this file")
    (served[0] / "bad.zip").write_text("no archive")
    _, downloads = caltech
    for change, fault in (
        ({"md5": "0" * 32}, "is not the published file: its MD5 is .* and 000"),
        ({"url": f"{address}/page.html"}, "answers with a page in place of the file"),
        ({"url": f"{address}/bad.zip", "md5": ""}, "bad.zip is not the published file"),
        ({"inside": ["nowhere"]}, "is not the published file: the folder of the images"),
        ({"url": f"{address}/absent"}, "absent cannot be fetched: File not found"),
        ({"url": "http://127.0.0.1:9/x"}, "cannot be fetched: .*Connection refused"),
    ):
        kept = downloads[0]
        downloads[0] = kept._replace(**change)
        with pytest.raises(DataError, match=fault):
            fetch_benchmark("caltech101", root)
        downloads[0] = kept
        assert not (root / "caltech-101" / "101_ObjectCategories").exists()
    assert fetch_benchmark("caltech101", root)


@pytest.mark.parametrize("name", ["imagenet", "stanford_cars", "sun397"])
def test_a_dataset_without_an_address_is_told_how_to_get(name: str, tmp_path: Path):
    with pytest.raises(DataError, match=f"{name} is not fetched .* Get it by .*{name}"):
        fetch_benchmark(name, tmp_path)


def test_all_that_is_downloaded_is_where_its_reader_looks():
    for benchmark in BENCHMARKS.values():
        layout = benchmark.layout
        if layout and benchmark.downloads:
            wanted = [f"{layout.folder}/{layout.images}", f"{layout.folder}/{layout.split}"]
            assert [download.to for download in benchmark.downloads] == wanted
