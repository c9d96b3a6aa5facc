"""What tests of the mirror share: ledgers written by hand, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser
from tests.written_study import MakeStudy, Written


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    """Makes a study of a name, without trials."""
    return lambda name: Written(tmp_path, name)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser, for the pages of a server."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
