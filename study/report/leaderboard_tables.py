"""A leaderboard as tables and text: for the terminal, as Markdown, and as records."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group
from rich.text import Text

from study.config.labels import PUBLISHED, TUNED
from study.config.trial_settings import HEADS, Head
from study.report.ablation_tables import cell_records, cell_table
from study.report.formatting import (
    duration,
    format_count,
    format_difference,
    format_mean,
    interval_columns,
    p_columns,
    percent,
)
from study.report.names import candidate_name, group_name, score_titles, starred_name
from study.report.setting_descriptions import (
    SETTING_NOTE,
    setting_cells,
    setting_header,
    settings_in_words,
    tuned_in_words,
)
from study.report.tables import Table, markdown_text, records_csv
from study.report.terminal import amount
from study.report.verdict import (
    comparison_sentences,
    interval_scope,
    metric_name,
    qualifications,
    registration_sentence,
    verdict,
)
from study.results.best_configuration import best_other_method
from study.results.best_of_studies import RankedTrial
from study.results.rows import Row
from study.results.statistics import MeanInterval
from study.results.study_result import TRIAL_STATES, StudyResult
from study.results.trial_results import PARTS, SOURCE, TrialResult
from study.storage.atomic import write_atomically
from study.trial.predictions import BALANCED

_MOST_ROWS = 20
"""The most rows of a leaderboard on one screen."""


def main_table(result: StudyResult) -> Table:
    """Return the test scores in percent, and the differences to both CLIPFits in points."""
    title = f"{result.folder.name}: test {metric_name(result)}, %"
    scores = score_titles(result.score_names, _scored_heads(result))
    header = ["candidate", *scores.values(), "seeds", "Δ tuned CLIPFit", "Δ published"]
    rows: list[list[object]] = []
    for entry in result.rows:
        row: list[object] = [starred_name(entry)]
        row += [format_mean(entry.means.get(name)) for name in scores]
        seeds, started = entry.test.n, entry.test_trial_count
        row.append(seeds if seeds == started else f"{seeds}/{started}")
        for label in (TUNED, PUBLISHED):
            row.append(format_difference(result.difference(entry, result.find_row(label))))
        rows.append(row)
    return Table(title, header, rows, marked=_best_row(result.rows), note=footnote(result))


def configuration_table(result: StudyResult) -> Table:
    """Return the candidates' labels, configurations and validation scores."""
    rows = []
    for entry in result.rows:
        row = [" = ".join(entry.labels), starred_name(entry), tuned_in_words(entry.settings)]
        row += [*setting_cells(entry.settings), format_count(entry.trainable)]
        rows.append([*row, percent(entry.val_score)])
    header = ["label", "candidate", "tunes", *setting_header(), "trainable", "val %"]
    return Table(
        "Configurations",
        header,
        rows,
        left=3,
        marked=_best_row(result.rows),
        note=SETTING_NOTE,
    )


def target_table(result: StudyResult) -> Table:
    """Return accuracies in percent: datasets by candidates."""
    rows = []
    for target in result.score_names.datasets:
        name = f"{result.config.data.dataset} (source)" if target == SOURCE else target
        rows.append([name, *(format_mean(one.means.get(target)) for one in result.rows)])
    header = ["dataset", *map(starred_name, result.rows)]
    return Table("Accuracy by dataset, %", header, rows)


def budget_table(result: StudyResult) -> Table:
    """Return the trials and the time of each group of the search, and of each further stage."""
    search = result.stage("search")
    spent: dict[str, list[TrialResult]] = {}
    for group in sorted({trial.group for trial in search}):
        spent[group_name(group)] = [trial for trial in search if trial.group == group]
    for stage, name in (("ablation", "cells"), ("test", "test"), ("final", "final model")):
        spent[name] = [trial for trial in result.each_trial if trial.stage == stage]
    rows = []
    for name, trials in spent.items():
        if trials:
            states = [sum(t.status == state for t in trials) for state in TRIAL_STATES]
            epochs = format_count(sum(trial.epochs for trial in trials))
            seconds = sum(trial.seconds or 0.0 for trial in trials)
            rows.append([name, len(trials), *states, epochs, duration(seconds)])
    return Table(
        "Trials and time",
        ["part", "trials", *TRIAL_STATES, "epochs", "time"],
        rows,
        note="ASHA (successive halving) stops trials early. Time is summed over trials.",
    )


def footnote(result: StudyResult) -> str:
    """Return the sentences below the main table: how to read it, and what it does not show."""
    notes = []
    if result.best:
        notes.append("★ marks the best by validation.")
    notes.append("± and [ ] are 95 % intervals.")
    notes += interval_scope(result.resampled, [row.test for row in result.rows])
    planned = [
        candidate_name(label)
        for label, comparison in result.comparisons.items()
        if comparison.holm_p is not None
    ]
    notes.append("Δ is a paired difference in percentage points.")
    if planned:
        notes.append(
            f"Planned comparisons, with Holm-corrected p: the best configuration with "
            f"{' and '.join(planned)}. All other differences are descriptive."
        )
    notes.append("Not significant does not mean equal.")
    if result.score_names.balanced:
        notes.append("Balanced: the score with mean class recall instead of accuracy.")
    if result.untested:
        names = ", ".join(map(candidate_name, result.untested))
        notes.append(f"No test score yet: {names}.")
    return " ".join(notes)


def render_screen(result: StudyResult) -> Group:
    """Return what fits a terminal of 80 × 40: scores, differences and the verdict."""
    main = main_table(result)
    scores = len(result.score_names.parts) + 1
    columns = [*range(1 + scores), main.header.index("Δ tuned CLIPFit")]
    kept = [*range(min(_MOST_ROWS, len(main.rows)))]
    if main.marked is not None and main.marked not in kept:
        kept[-1] = main.marked
    rows = [main.rows[row] for row in kept]
    table = replace(main, rows=rows, note="", lines=False).with_columns(columns)
    blocks: list[Table | Text] = [table] if rows else []
    if len(kept) < len(main.rows):
        blocks.append(Text(f"and {amount(len(main.rows) - len(kept), 'more candidate')}: --all"))
    best = result.best_by_validation
    if best and result.has_search:
        sentences = [*comparison_sentences(result), *qualifications(result, best)]
    else:
        sentences = verdict(result)
    blocks += [Text(""), *map(Text, sentences)]
    if rows:
        blocks.append(Text("± and [ ]: 95 % intervals; Δ: points. More with --all", style="dim"))
    return Group(*blocks)


def render_leaderboard(result: StudyResult) -> Group:
    """Return the leaderboard as all its tables for the terminal, with its findings."""
    return Group(*_all_tables(result), *map(Text, verdict(result)))


def render_best_of_studies(ranked: Sequence[RankedTrial]) -> Group:
    """Return the best trials as a table for each dataset, since scores of one alone compare."""
    rows: dict[str, list[list[object]]] = defaultdict(list)
    for one in ranked:
        test = f"{percent(one.test_score)} ({one.test_seeds})" if one.test_seeds else None
        cells = [one.study, one.trial.label, settings_in_words(one.trial.settings)]
        cells += [one.trial.split_hash[:6], percent(one.val_score)]
        rows[one.config.data.dataset].append([*cells, test])
    header = ["study", "trial", "tunes", "split", "val %", "test %"]
    tables = [
        Table(f"Best on {dataset}", header, own, left=4, lines=False)
        for dataset, own in rows.items()
    ]
    note = (
        "Finished trials by validation score, with the mean test score (number of seeds). Only "
        "rows with the same split are comparable. --json also shows learning rates."
    )
    return Group(*tables, Text(note, style="dim"))


def leaderboard_markdown(result: StudyResult) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    blocks = [f"# {markdown_text(result.folder.name)}", *map(markdown_text, verdict(result))]
    return "\n\n".join([*blocks, *(table.markdown() for table in _all_tables(result))]) + "\n"


def describe_study(result: StudyResult) -> str:
    """Return the description of a finished study on its run in MLflow, in Markdown."""
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    score, *rest = map(markdown_text, verdict(result))
    blocks = [f"**{score}**"]
    if result.registration:
        blocks.append(f"`{result.registration.loading_line}`")
        blocks.append(markdown_text(registration_sentence(result.registration)))
    blocks += [*rest, *(table.markdown() for table in _all_tables(result))]
    blocks.append("The full report is `report.html` in this run’s artifacts.")
    return _widen_columns("\n\n".join(blocks))


def _widen_columns(markdown: str) -> str:
    """Widen table columns: on MLflow’s page “± 1.3” and “5” would look like one number."""
    lines = markdown.split("\n")
    return "\n".join(
        line if line.startswith("| ---") else line.replace(" | ", "&emsp; | ") for line in lines
    )


def _all_tables(result: StudyResult) -> list[Table]:
    """Return the tables that have rows; an ablation has that of its cells."""
    makers = [main_table, target_table, configuration_table, budget_table]
    if result.ablation:
        makers = [cell_table]
    return [table for table in (make(result) for make in makers) if table.rows]


def leaderboard_records(result: StudyResult) -> list[dict[str, object]]:
    """Return a record per candidate, or cell of an ablation, with values in full precision."""
    if result.ablation:
        return cell_records(result)
    return [_candidate_record(result, entry) for entry in result.rows]


def write_leaderboard(result: StudyResult) -> None:
    """Write `leaderboard.csv` and `leaderboard.md`, or `ablation.csv` and `ablation.md`."""
    path = result.folder.path / ("ablation" if result.ablation else "leaderboard")
    write_atomically(path.with_suffix(".csv"), records_csv(leaderboard_records(result)))
    write_atomically(path.with_suffix(".md"), leaderboard_markdown(result))


def _scored_heads(result: StudyResult) -> list[Head]:
    """Return the heads that any test was scored with, if there are several."""
    scored = {name for entry in result.rows for name in entry.means}
    heads = [head for head in HEADS if f"score_{head}" in scored]
    return heads if len(heads) > 1 else []


def _best_row(entries: Sequence[Row]) -> int | None:
    return next((index for index, entry in enumerate(entries) if entry.is_best), None)


def _candidate_record(result: StudyResult, entry: Row) -> dict[str, object]:
    """Return the columns of a candidate for CSV and JSON."""
    names = result.score_names
    other = best_other_method(result.candidates)
    rivals = {"tuned": TUNED, "published": PUBLISHED, "other_method": other}
    means: dict[str, MeanInterval | None] = {"test": entry.test}
    balanced = [BALANCED] if names.balanced else []
    for name in (*PARTS, *names.parts, *balanced, *names.datasets):
        means[name] = entry.means.get(name)
    for name, label in rivals.items():
        means[f"versus_{name}"] = result.difference(entry, result.find_row(label))
    record = {
        "label": entry.label,
        "best": entry.is_best,
        **entry.settings.column_values(),
        "trainable": entry.trainable,
        "source_trial": entry.source_trial,
        "val_score": entry.val_score,
    }
    for head in HEADS:
        of_head = entry.means.get(f"score_{head}")
        record[f"test_{head}_head"] = of_head.mean if of_head else None
    record |= {"seeds": entry.test.n, "chance": result.chance, **interval_columns(means)}
    comparisons = result.comparisons if entry.is_best else {}
    for name, label in (("tuned", TUNED), ("other_method", other)):
        # Tuned CLIPFit may be CLIPFit as published; their row has the label of one of them.
        rival = result.find_row(label)
        record |= p_columns(comparisons.get(rival.label) if rival else None, f"versus_{name}_")
    return {**record, "other_method": other}
