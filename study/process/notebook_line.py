"""A line in the output of a notebook that replaces itself."""

from typing import Any


class NotebookLine:
    """A line of text in a notebook, which each further text replaces.

    rich has live lines too, and needs ipywidgets for them, which takes what is printed meanwhile.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        from IPython.display import display  # which is there wherever there is a notebook

        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
