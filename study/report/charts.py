"""Charts that matplotlib draws as PNG and SVG files; no other module imports it."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from study.results.statistics import Interval
from study.storage.atomic import write_atomically

# After Okabe and Ito: distinct for every kind of colour vision.
BLUE, ORANGE, GREEN, PINK, GREY = "#3a8fc8", "#e07b39", "#2fa37c", "#c774a3", "#8a8a8a"
OLIVE, VIOLET, BROWN = "#a89b2c", "#7a6fd0", "#7d4a2d"
PALETTE = BLUE, ORANGE, GREEN, PINK, GREY
"""The colours of marks that no colour of their own is meant for."""
BEST_MARK = {"marker": "*", "markersize": 11}
"""The marks of the best configuration alone."""
MARKERS = ("o", "s", "D", "^", "X")
"""The markers that tell marks of one colour apart."""

PANEL_WIDTH, PANEL_HEIGHT = 5.2, 3.8
"""The size of a panel in inches, unless a chart sets its own."""
MANY_NAMES = 24
"""The largest number of names along an axis in full size."""
_LONG_NAME = 8
"""The most characters of a name that lies below an axis; longer names are turned upright."""
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""The metadata that files do not have, so that equal charts are equal files."""
_STYLE = Path(__file__).with_suffix(".mplstyle")

Side = Literal["x", "y"]
Painter = Callable[[Any], None]
"""A function that draws one panel on matplotlib's axes."""


@dataclass(frozen=True)
class Chart:
    """Panels side by side with their caption, or the reason why there is nothing to draw."""

    name: str
    """The name of its files, without the suffix."""
    title: str
    """The title, a few words."""
    caption: str
    """What the chart shows, and what it does not."""
    painters: Sequence[Painter]
    """The function of each panel, from left to right; empty if there is nothing to draw."""
    reason_if_empty: str
    """The reason why there is nothing to draw."""
    width: float = PANEL_WIDTH
    """The width of a panel in inches."""
    height: float = PANEL_HEIGHT
    """The height of the panels in inches."""
    _files: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The files drawn so far, by suffix: a study's folder and its report have the same pictures."""

    @cached_property
    def figure(self) -> Any:
        """The figure of matplotlib, in which everything has its place."""
        import matplotlib.figure

        width = self.width * len(self.painters)
        with _style_of(self):
            figure = matplotlib.figure.Figure(figsize=(width, self.height), layout="constrained")
            (panels,) = figure.subplots(1, len(self.painters), squeeze=False)
            handles: dict[str, Any] = {}
            for axes, paint in zip(panels, self.painters, strict=True):
                paint(axes)
                drawn, labels = axes.get_legend_handles_labels()
                for label, handle in zip(labels, drawn, strict=True):
                    handles.setdefault(label, handle)
            if len(handles) > 1:
                # An inch holds about 13 characters, and a marker is about 6 wide.
                columns = max(1, int(13 * width / (max(map(len, handles)) + 6)))
                figure.legend(
                    handles.values(), handles.keys(), loc="outside upper center", ncols=columns
                )
            # Places are found once; a figure that keeps its layout finds them twice a format.
            figure.draw_without_rendering()
            figure.set_layout_engine(None)
        return figure

    @property
    def alternative(self) -> str:
        """What the chart shows, for those who cannot see it."""
        sentences = [self.title]
        for axes in self.figure.axes:
            names = axes.get_legend_handles_labels()[1]
            if not names:  # the first row is the lowest
                names = [tick.get_text() for tick in reversed(axes.get_yticklabels())]
            shown = ", ".join(dict.fromkeys(name.replace("\n", " ") for name in names if name))
            sides = " against ".join(filter(None, (axes.get_ylabel(), axes.get_xlabel())))
            sentences.append(f"{axes.get_title()} {sides}: {shown}".strip())
        return ". ".join(sentences)

    @property
    def drawing(self) -> str | None:
        """What the SVG has after its name, for an element of a page; None without a drawing."""
        if not self.painters:
            return None
        _, _, drawing = draw(self, "svg").decode().partition("<svg")
        # The numbered groups of every chart have the same ids, to which nothing refers.
        return re.sub(r' id="[\w.]+_\d+"', "", drawing)


def draw(chart: Chart, suffix: Literal["png", "svg"]) -> bytes:
    """Return the file of a chart on a white background; draw it only once."""
    if suffix not in chart._files:
        contents = io.BytesIO()
        with _style_of(chart):
            chart.figure.savefig(contents, format=suffix, metadata=_NO_METADATA)
        chart._files[suffix] = contents.getvalue()
    return chart._files[suffix]


def _style_of(chart: Chart) -> AbstractContextManager[None]:
    """Return the context in which matplotlib draws a chart."""
    import matplotlib.style

    # Equal charts are equal files, and no two charts of a page have a mark's id in common.
    return matplotlib.style.context([_STYLE, {"svg.hashsalt": chart.name}])


def write_charts(folder: Path, charts: Sequence[Chart]) -> list[Path]:
    """Write each chart as `plots/NAME.png` and `plots/NAME.svg`, and return their paths.

    A file of a chart that can no longer be drawn is removed: it would look like a current one.
    """
    target = folder / "plots"
    target.mkdir(exist_ok=True)
    files = []
    for chart in charts:
        if chart.painters:
            for suffix in ("png", "svg"):
                files.append(target / f"{chart.name}.{suffix}")
                write_atomically(files[-1], draw(chart, suffix))
        for path in sorted(target.glob(f"{chart.name}.*")):
            if path not in files:
                path.unlink()
    return files


def log_scale(axes: Any, side: Side = "x") -> None:
    """Give an axis a logarithmic scale with plain numbers."""
    from matplotlib.ticker import LogFormatter

    class PlainNumbers(LogFormatter):
        """Labels such as 0.0001, 8 and 20,000, where another class mixes 10000 and 2e+04."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            is_labelled = super().__call__(x, pos) != ""
            return f"{x:,.10f}".rstrip("0").rstrip(".") if is_labelled else ""

    axes.set(**{f"{side}scale": "log"})
    ticks = getattr(axes, f"{side}axis")
    # Label only powers of ten, more if the axis spans less than one.
    ticks.set_major_formatter(PlainNumbers())
    ticks.set_minor_formatter(PlainNumbers(minor_thresholds=(1, 0.4)))


def name_axis(axes: Any, side: Side, names: Sequence[str]) -> None:
    """Name the values 0, 1, … of an axis."""
    ticks = getattr(axes, f"{side}axis")
    ticks.set_ticks(range(len(names)), names)
    axes.set(**{f"{side}lim": (-0.6, len(names) - 0.4)})
    if len(names) > MANY_NAMES:
        ticks.set_tick_params(labelsize=min(10, max(5, 600 / len(names))), length=0)
    if side == "x" and max(map(len, names), default=0) > _LONG_NAME:
        ticks.set_tick_params(rotation=90)


def in_percent(
    means: Iterable[tuple[float, Interval | None]],
) -> tuple[list[float], list[list[float]]]:
    """Return means in percent, and how far their intervals reach below and above them."""
    ends = [(mean, *(interval or (mean, mean))) for mean, interval in means]
    below = [100 * (mean - low) for mean, low, _ in ends]
    above = [100 * (high - mean) for mean, _, high in ends]
    return [100 * mean for mean, *_ in ends], [below, above]


def draw_bars(axes: Any, widths: Sequence[float], **style: Any) -> None:
    """Draw horizontal bars, the first in the lowest row."""
    # Black is the colour of the page's text.
    axes.barh(range(len(widths)), widths, 0.36, color=BLUE, ecolor="black", alpha=0.9, **style)
