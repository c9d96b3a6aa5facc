"""The report of a study: one HTML page, for readers who never saw the code."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from study.embedded import EMBEDDED
from study.report.ablation_tables import cell_table
from study.report.charts import Chart
from study.report.class_tables import (
    class_accuracy_table,
    confusion_table,
    describe_check,
    label_table,
)
from study.report.leaderboard_tables import (
    budget_table,
    configuration_table,
    main_table,
    target_table,
)
from study.report.pictures import Datasets, Gallery, make_gallery
from study.report.setting_descriptions import configuration_rows, shots_in_words
from study.report.tables import Table
from study.report.templates import templates
from study.report.verdict import headline, registration_sentence, verdict
from study.results.study_result import StudyResult
from study.storage.atomic import write_atomically

_FOLDER = Path(__file__).parent


class Block(NamedTuple):
    """A part of the page, which the template shows by its kind."""

    kind: Literal["text", "code", "pairs", "table", "chart"]
    content: Any
    """A text, pairs of a name and a text, a `Table` or a `Chart`."""
    title: str = ""
    level: str = "h3"
    """The level of the heading of a chart."""


class Section(NamedTuple):
    """A folded part of the page; `id` is what links name."""

    id: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    name: str
    subtitle: str
    number: str
    """The score of the best configuration; empty without one."""
    sentences: Sequence[str]
    """What the study found; the first goes on after the number."""
    layout: str
    """The classes of the first screen."""
    charts: Sequence[Block]
    gallery: Gallery | None
    """The most confident mistakes; None for an ablation, which has no best configuration."""
    map: Sequence[Block]
    """The chart of what is tuned in CLIP."""
    sections: Sequence[Section]
    style: str


def write_report(
    result: StudyResult, charts: Sequence[Chart], datasets: Datasets | None = None
) -> Path:
    """Write `report.html`, which needs no other file or network, into the study's folder.

    Args:
        result: the result of the study.
        charts: the charts from `make_charts`.
        datasets: the datasets that were read already, for pictures; see `make_gallery`.

    Returns:
        The path of the report.

    Raises:
        FolderError: a file of predictions is damaged.
    """
    path = result.folder.path / "report.html"
    write_atomically(path, render_report(result, charts, datasets))
    return path


def render_report(
    result: StudyResult, charts: Sequence[Chart], datasets: Datasets | None = None
) -> str:
    """Return the report as HTML; arguments and errors are those of `write_report`."""
    environment = templates(autoescape=True, finalize=_keep_percent_together)
    page = _make_page(result, {chart.name: chart for chart in charts}, datasets or {})
    return environment.get_template("report.html.jinja").render(page=page)


def _keep_percent_together(value: Any) -> Any:
    """Return a text in which no line ends between a number and its percent sign.

    Markup stays as it is: drawings, and code that readers copy.
    """
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return value.replace(" %", "\N{NO-BREAK SPACE}%")
    return value


def _make_page(result: StudyResult, charts: Mapping[str, Chart], datasets: Datasets) -> Page:
    config = result.config
    subtitle = [config.data.dataset, config.protocol.replace("_", "-")]
    if result.protocol.trains:
        subtitle.append(shots_in_words(config.data))
    name = config.backbone.name
    subtitle.append("this package’s small CLIP" if name == EMBEDDED else name)
    opening, sentences = headline(result), verdict(result)
    if opening:
        sentences[0] = opening[1]
    return Page(
        name=result.folder.name,
        subtitle=", ".join(subtitle),
        number=opening[0] if opening else "",
        sentences=sentences,
        layout="opening wide" if result.ablation else "opening",
        charts=_charts(charts, "scores", "recalls", "ablation-forest", level="h2"),
        gallery=None if result.ablation else make_gallery(result, datasets),
        map=_charts(charts, "tuned", level="h2"),
        sections=[one for one in _sections(result, charts) if one.blocks],
        style=(_FOLDER / "report.css").read_text(encoding="utf-8"),
    )


def _sections(result: StudyResult, charts: Mapping[str, Chart]) -> Iterator[Section]:
    """Yield the folded sections; those without blocks are left out."""
    scores = [*_table(main_table(result), "Scores"), *_charts(charts, "agreement")]
    yield Section("scores", "All scores", scores)
    yield Section("use", "Use the model", [*_use(result)])
    yield Section("settings", "Which settings mattered", [*_settings(result, charts)])
    classes = [*_table(class_accuracy_table(result), "Classes"), *_table(confusion_table(result))]
    yield Section("classes", "Class by class", classes)
    if check := result.label_check:
        labels = [Block("text", describe_check(check)), *_table(label_table(check))]
        yield Section("labels", "Labels to check", labels)
    configurations = [*_table(configuration_table(result)), *_table(target_table(result))]
    yield Section("configurations", "All configurations", configurations)
    text = result.folder.config_path.read_text(encoding="utf-8")
    rows = [*configuration_rows(result), *sorted(result.identity.items())]
    settings = [Block("pairs", rows), Block("code", text, "Configuration file")]
    yield Section("study", "Study settings", settings)
    yield Section("time", "Time", _table(budget_table(result)))


def _use(result: StudyResult) -> Iterator[Block]:
    """Yield how the final model is loaded, or why there is none."""
    final = result.final
    if result.ablation:
        return
    if not final:
        yield Block("text", "This study has no best configuration, so it has no final model.")
        return
    if result.registration:
        yield Block("text", registration_sentence(result.registration))
        code = f"import mlflow\n\n{result.registration.loading_line}"
        yield Block("code", code, "From the MLflow registry at MLFLOW_TRACKING_URI")
    # The first seed, not the best on test: that would be selecting on test.
    trials = sorted(result.test_trials(final.row.label), key=lambda trial: trial.seed)
    for trial in [final.trial] if final.trial else trials:
        delta = f"trials/{trial.trial_id}/delta.safetensors"
        if (result.folder.path / delta).is_file():
            lines = ["import study\n", f'model = study.load_model("{delta}")']
            lines.append('print(model.class_names, model.predict(["image.png"]))')
            whose = "final model" if final.trial else f"model of test seed {trial.seed}"
            yield Block("code", "\n".join(lines), f"The {whose} (run this in the study’s folder)")
            return
    yield Block("text", "This study’s folder contains no tuned parameters.")


def _settings(result: StudyResult, charts: Mapping[str, Chart]) -> Iterator[Block]:
    """Yield what shows which settings mattered: the charts of a search, or an ablation."""
    yield from _charts(charts, "importance-search", "pareto", "learning-rates")
    yield from _table(cell_table(result))
    if not result.ablation and result.has_search and result.protocol.ablates:
        yield Block(
            "text",
            "To measure the effect of each site, run an ablation with this study’s data section: "
            "clipfit-study run ablation",
        )


def _charts(charts: Mapping[str, Chart], *names: str, level: str = "h3") -> list[Block]:
    """Return the charts of these names that there are."""
    found = [charts[name] for name in names if name in charts]
    return [Block("chart", chart, chart.title, level) for chart in found]


def _table(table: Table, title: str = "") -> list[Block]:
    """Return a table if it has rows."""
    return [Block("table", table, title or table.title)] if table.rows else []
