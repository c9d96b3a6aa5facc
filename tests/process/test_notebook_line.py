"""A line in a notebook; no notebook is among what the tests need, so what it is sent is kept."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from study.process.notebook_line import NotebookLine


def test_a_further_text_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch):
    sent: list[Any] = []

    def display(bundle: Any, **options: Any) -> Any:
        sent.append((bundle["text/plain"], options))
        return SimpleNamespace(update=lambda bundle, raw: sent.append(bundle["text/plain"]))

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    line = NotebookLine()
    line.show("1/6 done")
    line.show("2/6 done")
    assert sent == [("1/6 done", {"raw": True, "display_id": True}), "2/6 done"]
