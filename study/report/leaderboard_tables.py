"""A leaderboard as tables and text: for the terminal, as Markdown and as CSV."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Group
from rich.text import Text

from study.config.labels import TUNED, VARIANT
from study.config.trial_settings import settings_columns
from study.report.arms import arm_name
from study.report.formatting import (
    SETTING_NOTE,
    Table,
    difference_cell,
    duration,
    format_count,
    interval_columns,
    markdown_text,
    p_values,
    percent,
    score_cell,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
    tuned_in_words,
)
from study.report.further_scores import further_header, further_note
from study.report.ladder_table import ladder_table
from study.report.names import candidate_name, starred_name
from study.report.scope import leaderboard_scope
from study.report.verdict import validation_findings, validation_score_sentence, verdict
from study.results.entries import PUBLISHED, REFERENCES, Entry
from study.results.leaderboard import TRIAL_STATES, Leaderboard
from study.results.statistics import PairedDifference
from study.results.study_results import BASELINE, PARTS, SEARCH_ARM
from study.storage.atomic import write_atomically

CONFIGURATIONS = "Configurations"
"""The title of the table of what each candidate is."""


def main_table(board: Leaderboard) -> Table:
    """Return the test scores in percent, and the differences to both baselines in points."""
    of = f" of {' and '.join(board.parts)} accuracy" if board.parts else ""
    return Table(
        f"{board.folder.name}: test {board.metric}{of}, %",
        [
            "candidate",
            *score_header(board.parts, board.metric if board.parts else "test"),
            *further_header(board),
            *("seeds", "Δ tuned CLIPFit", "Δ published"),
        ],
        [
            [
                starred_name(board, entry) + _finished(board, entry),
                *score_cells(board.parts, entry.parts, entry.test),
                *(score_cell(entry.further_scores.get(name)) for name in board.further_names),
                f"{len(entry.scores)}/{entry.seeds_planned}"
                if len(entry.scores) < entry.seeds_planned
                else len(entry.scores),
                *map(difference_cell, _versus(board, entry)),
            ]
            for entry in board.entries
        ],
        marked=_winner_row(board),
        note=footnote(board),
        break_at=3 + len(board.parts) + len(board.further_names),
    )


def configuration_table(board: Leaderboard) -> Table:
    """Return the candidates' labels, configurations and validation scores."""
    return Table(
        CONFIGURATIONS,
        ["label", "candidate", "tunes", *setting_header(), "trainable", "val %"],
        [
            [
                " = ".join(entry.labels),
                starred_name(board, entry),
                tuned_in_words(entry.settings),
                *setting_cells(entry.settings),
                format_count(entry.trainable),
                percent(entry.val_score),
            ]
            for entry in board.entries
        ],
        left=3,
        marked=_winner_row(board),
        note=" ".join([SETTING_NOTE, *validation_score_sentence(board)]),
        break_at=5,
    )


def target_table(board: Leaderboard) -> Table:
    """Return accuracies in percent: datasets by candidates."""
    return Table(
        "Accuracy by dataset, %",
        ["dataset", *(starred_name(board, entry) for entry in board.entries)],
        [
            [target, *(score_cell(entry.dataset_scores.get(target)) for entry in board.entries)]
            for target in board.scored_datasets
        ],
    )


def budget_table(board: Leaderboard) -> Table:
    """Return what each part of the search spent; the time adds up its trials' durations."""
    return Table(
        "What the search spent",
        ["part of the search", "trials", *TRIAL_STATES, "epochs", "time"],
        [
            [
                *(arm_name(arm.arm), arm.trials, *(getattr(arm, state) for state in TRIAL_STATES)),
                *(format_count(arm.epochs), duration(arm.seconds)),
            ]
            for arm in board.arm_budgets
        ],
        note=(
            f"“{arm_name(BASELINE)}”: baselines, tried first. "
            f"“{arm_name(SEARCH_ARM)}”: which parameters to tune, and how fast. "
            f"“{arm_name(TUNED)}”: learning rates and λ for CLIPFit’s own parameters. "
            f"“{arm_name(VARIANT)}”: baselines once more. Another method (a peer) that "
            "was asked for has its own search. Stopped trials were ended early because others "
            "were ahead; the time adds up all trials."
        ),
    )


def failure_table(board: Leaderboard) -> Table:
    """Return the last failed trials, with their causes."""
    rows = [[trial.trial_id, trial.epochs, trial.reason or ""] for trial in board.failures[-10:]]
    if more := len(board.failures) - len(rows):
        rows.append([f"and {more} before", "", "see the report"])
    return Table("Failures", ["failed trial", "epochs", "cause"], rows, left=3)


def footnote(board: Leaderboard) -> str:
    """Return the note on what the numbers mean and what their intervals leave out."""
    before = " and ".join(map(str, board.chosen_before))
    chosen = (
        f"by validation alone, in a search that was extended after its choice from {before} trials "
        "had been tested; what was chosen then and is not now has its number of trials in its name."
        if before
        else "by validation, before test was read."
    )
    return (
        f"{'★ chosen' if board.winner else 'The choice was made'} {chosen} ± and [ ] are 95 % "
        "intervals over seeds and test images together. Δ are paired differences in percentage "
        "points over common seeds and test images. "
        + " ".join(leaderboard_scope(board))
        + f" {_tested(board)} Within noise: these images and seeds do not tell which is better, "
        "which does not mean that both are equal."
        + (f" {further_note(board)}" if board.further_names else "")
        + (f" Without a test score yet: {', '.join(board.untested)}." if board.untested else "")
    )


def _tested(board: Leaderboard) -> str:
    """Return which comparisons are tested."""
    if len(board.planned_comparisons) > 1:
        return (
            "Two comparisons are tested, as fixed beforehand: the winner with tuned CLIPFit, and "
            "with the best other method by validation (a peer: it does not tune CLIP’s biases and "
            "LayerNorms), corrected for the number of tests (Holm). All other differences are "
            "descriptive."
        )
    if not board.planned_comparisons:
        return "All differences are descriptive."
    (label,) = board.planned_comparisons
    return (
        f"One comparison is tested, as fixed beforehand: the winner with {candidate_name(label)}. "
        "All other differences are descriptive."
    )


def render_leaderboard(board: Leaderboard) -> Group:
    """Return the leaderboard as tables for the terminal, with its findings."""
    main = main_table(board)
    tables = (
        main,
        ladder_table(board),
        target_table(board),
        configuration_table(board),
        budget_table(board),
        failure_table(board),
    )
    return Group(
        *_with_notes(tables),
        *(Text(sentence) for sentence in verdict(board) + validation_findings(board)),
        *([Text(main.note, style="dim")] if board.entries else ()),
    )


def _with_notes(tables: Sequence[Table]) -> Iterator[Table | Text]:
    """Yield the tables that have rows, and what explains the words of some below them.

    The note of the first, on all scores, stands after the sentences, and a validation score is
    judged among them.
    """
    main = tables[0]
    for table in tables:
        if not table.rows:
            continue
        yield table
        note = SETTING_NOTE if table.title == CONFIGURATIONS else table.note
        if note and table is not main:
            yield Text(note, style="dim")


def leaderboard_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    scores = (
        replace(main_table(board), title=""),
        ladder_table(board),
        target_table(board),
        configuration_table(board),
    )
    blocks = (
        f"# {markdown_text(board.folder.name)}",
        *map(markdown_text, verdict(board)),
        *(table.markdown() for table in scores if table.rows),
        *(
            ["## How far to trust validation", markdown_text(" ".join(validation_findings(board)))]
            if board.entries
            else []
        ),
        *(table.markdown() for table in (budget_table(board), failure_table(board)) if table.rows),
    )
    return "\n\n".join(blocks) + "\n"


def leaderboard_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV: fractions in full precision, one row per candidate."""
    return Table(
        "",
        list(_record(board, None)),
        [list(_record(board, entry).values()) for entry in board.entries],
    ).csv()


def leaderboard_json(board: Leaderboard) -> str:
    """Return the leaderboard as a JSON list: one object per candidate, as `leaderboard_csv` has."""
    rows = []
    for entry in board.entries:
        record = _record(board, entry)
        unknown = [name for name, value in record.items() if value != value]  # NaN is no JSON
        rows.append({**record, **dict.fromkeys(unknown)})
    return json.dumps(rows, indent=2, ensure_ascii=False, default=str) + "\n"


def write_leaderboard(board: Leaderboard) -> None:
    """Write `leaderboard.csv` and `leaderboard.md` into the study's folder."""
    write_atomically(board.folder.path / "leaderboard.csv", leaderboard_csv(board))
    write_atomically(board.folder.path / "leaderboard.md", leaderboard_markdown(board))


def _finished(board: Leaderboard, entry: Entry) -> str:
    """Return how many trials of tuned CLIPFit's own search finished; empty for other candidates."""
    ends = board.trial_states(TUNED) if TUNED in entry.labels else []
    return f" ({ends.count('finished')} of its {len(ends)} trials finished)" if ends else ""


def _versus(board: Leaderboard, entry: Entry) -> Iterator[PairedDifference | None]:
    """Yield the differences to the baselines that every candidate is shown beside."""
    return (board.difference(entry, board.find_entry(label)) for label in REFERENCES)


def _winner_row(board: Leaderboard) -> int | None:
    return next((index for index, entry in enumerate(board.entries) if entry.is_winner), None)


def _expected(board: Leaderboard, entry: Entry | None) -> float | None:
    """Return what to expect of the validation score of the choice; None for all others."""
    if board.optimism is None or entry is None or not entry.is_chosen:
        return None
    return board.optimism.expected


def _record(board: Leaderboard, entry: Entry | None) -> dict[str, object]:
    """Return the row of a candidate; None gives the same columns without values."""
    values = vars(entry) if entry else {}
    parts, further, targets = (
        values.get(name, {}) for name in ("parts", "further_scores", "dataset_scores")
    )
    rivals = {"tuned": TUNED, "published": PUBLISHED, "peer": board.top_peer}
    paired = {
        name: entry and board.difference(entry, board.find_entry(label or ""))
        for name, label in rivals.items()
    }
    return {
        "label": values.get("label"),
        "winner": entry and entry.is_winner,
        **(entry.settings.column_values() if entry else dict.fromkeys(settings_columns())),
        **{
            name: values.get(name)
            for name in ("trainable", "source_trial", "val_score", "val_base")
        },
        "val_expected": _expected(board, entry),
        "seeds": len(values.get("scores", ())),
        "chance": board.chance,
        **interval_columns(
            {
                "test": values.get("test"),
                **{part: parts.get(part) for part in (*PARTS, *board.parts)},
                **{name: further.get(name) for name in board.further_names},
                **{target: targets.get(target) for target in board.scored_datasets},
                **{
                    f"versus_{name}": found.difference if found else None
                    for name, found in paired.items()
                },
            }
        ),
        **{
            f"versus_{name}_{column}": value
            for name in ("tuned", "peer")
            for column, value in p_values(
                board.planned_comparisons.get(rivals[name] or "")
                if entry and entry.is_winner
                else None
            ).items()
        },
        "peer": board.top_peer,
    }
