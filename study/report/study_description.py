"""The description of a study on its parent run in MLflow: a few sentences and the tables."""

from study.method.parameters import list_kinds
from study.report.ablation_tables import (
    ablation_markdown,
)
from study.report.formatting import (
    format_count,
    format_difference,
    format_mean,
    format_rate,
    markdown_text,
    percent,
    settings_in_words,
)
from study.report.leaderboard_tables import (
    leaderboard_markdown,
)
from study.report.names import candidate_name
from study.report.verdict import (
    describe_rivals_above,
    judge_comparison,
)
from study.results.ablation import ablation_table
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.storage.study_folder import CHAMPION, Registration


def describe_study(results: Results, board: Leaderboard) -> str:
    """Return the description of a finished study in Markdown."""
    if results.ablates:
        return _spaced(ablation_markdown(ablation_table(results)))
    registration = results.registration
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    return "\n\n".join(
        [
            *([_headline(results, board, board.chosen)] if board.chosen else []),
            *([f"`{registration.loading_line(lasting=True)}`"] if registration else []),
            *([_settings_sentence(board, board.winner)] if board.winner else []),
            *([markdown_text(champion_sentence(registration, board))] if registration else []),
            _spaced(leaderboard_markdown(board).split("\n\n", 1)[1]),
            "`report.html` among this run's artifacts tells the whole.",
        ]
    )


def champion_sentence(registration: Registration, board: Leaderboard) -> str:
    """Return the sentence that says whether what is registered is champion, and why."""
    what = (
        "" if board.best_with_delta is board.winner else ", which is the best that writes a delta"
    )
    standing = CHAMPION if registration.champion else f"not {CHAMPION}"
    return (
        f"Registered as {registration.model}, version {registration.version} ({standing})"
        f"{what}: {registration.reason}."
    )


def _spaced(markdown: str) -> str:
    """Widen table columns: on MLflow's page “± 1.3” and “5” would look like one number."""
    return "\n".join(
        line if line.startswith("| ---") else line.replace(" | ", "&emsp; | ")
        for line in markdown.split("\n")
    )


def _headline(results: Results, board: Leaderboard, chosen: Entry) -> str:
    """Return the sentence that says which trial won and by how much, or that none did."""
    source = (trial.label for trial in results.trials if trial.trial_id == chosen.source_trial)
    name = markdown_text(next(source, chosen.label))
    if not chosen.is_winner:
        return (
            f"**No winner: {name}, chosen by validation, does not beat chance on test** "
            f"(balanced {format_mean(chosen.balanced)} % against {percent(chosen.chance)} %)."
        )
    parts = ", ".join(f"{part} {format_mean(chosen.parts.get(part))}" for part in board.parts)
    against = (
        f"{format_difference(comparison.paired)} points against {candidate_name(label)} "
        f"({judge_comparison(comparison)})"
        for label, comparison in board.planned_comparisons.items()
    )
    won = f"**{name} ★ won: {format_mean(chosen.test)} % on test**" + (
        f" ({parts})" if parts else ""
    )
    return " ".join(["; ".join([won, *against]) + ".", *describe_rivals_above(board)])


def _settings_sentence(board: Leaderboard, winner: Entry) -> str:
    """Return the sentence that says what the winner tunes and how it was trained."""
    rates, weight = winner.settings.rates, winner.settings.distill_weight
    tuned = [f"of {k.plural} {format_rate(rates[k.name])}" for k in list_kinds() if k.name in rates]
    verb = "tunes" if rates else "is"
    optimism = board.optimism.of(winner.val_score) if board.optimism else ""
    return markdown_text(
        f"It {verb} {settings_in_words(winner.settings)}: "
        f"{format_count(winner.trainable)} parameters"
        + (f", learning rate {', '.join(tuned)}" if tuned else "")
        + (f", λ {format_rate(weight)}" if rates else "")
        + f"; {percent(winner.val_score)} % on validation{optimism}."
    )
