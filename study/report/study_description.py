"""The description of a study on its parent run in MLflow: a few sentences and the tables."""

from study.method.parameters import list_kinds
from study.report.ablation_tables import ablation_markdown
from study.report.formatting import (
    describe_difference,
    format_count,
    format_mean,
    format_rate,
    markdown_text,
    percent,
)
from study.report.leaderboard_tables import leaderboard_markdown
from study.report.names import candidate_name, rival_name
from study.report.setting_descriptions import settings_in_words
from study.report.verdict import describe_rivals_above, describe_score, judge
from study.results.ablation import ablation_table
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.storage.study_folder import CHAMPION, Registration


def describe_study(results: Results, board: Leaderboard) -> str:
    """Return the description of a finished study in Markdown."""
    if results.ablates:
        return _widen_columns(ablation_markdown(ablation_table(results)))
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    blocks = []
    registration = board.registration
    if board.chosen:
        blocks.append(_describe_outcome(board, board.chosen))
    if registration:
        blocks.append(f"`{registration.loading_line(lasting=True)}`")
    if board.winner:
        blocks.append(markdown_text(_describe_winner(board, board.winner)))
    if registration:
        blocks.append(markdown_text(champion_sentence(registration, board)))
    _, tables = leaderboard_markdown(board).split("\n\n", 1)
    blocks.append(_widen_columns(tables))
    blocks.append("`report.html` among this run's artifacts tells the whole.")
    return "\n\n".join(blocks)


def champion_sentence(registration: Registration, board: Leaderboard) -> str:
    """Return the sentence that says whether what is registered is champion, and why."""
    standing = CHAMPION if registration.champion else f"not {CHAMPION}"
    model = f"{registration.model}, version {registration.version} ({standing})"
    if board.best_with_delta is not board.winner:
        model += ", which is the best that writes a delta"
    return f"Registered as {model}: {registration.reason}."


def _widen_columns(markdown: str) -> str:
    """Widen table columns: on MLflow's page “± 1.3” and “5” would look like one number."""
    lines = []
    for line in markdown.split("\n"):
        if not line.startswith("| ---"):
            line = line.replace(" | ", "&emsp; | ")
        lines.append(line)
    return "\n".join(lines)


def _describe_outcome(board: Leaderboard, choice: Entry) -> str:
    """Return, in Markdown, which trial won and by how much, or that none did."""
    names = {trial.trial_id: trial.label for trial in board.trials}
    label = names.get(choice.source_trial or "", choice.label)
    name = markdown_text(candidate_name(label))
    if not choice.is_winner:
        return (
            f"**No winner: {name}, chosen by validation, does not beat chance on test** "
            f"(balanced {format_mean(choice.balanced, ' %')} against {percent(choice.chance)} %)."
        )
    outcome = f"**{name} ★ won: {describe_score(choice.test)} on test**"
    if board.parts:
        parts = [f"{part} {format_mean(choice.parts.get(part))}" for part in board.parts]
        outcome += f" ({', '.join(parts)})"
    for label, comparison in board.planned_comparisons.items():
        rival = rival_name(board, label)
        outcome += f"; {describe_difference(comparison)} against {rival} ({judge(comparison)})"
    return " ".join([f"{outcome}.", *describe_rivals_above(board)])


def _describe_winner(board: Leaderboard, winner: Entry) -> str:
    """Return what the winner tunes, how fast, and its score on validation."""
    settings = winner.settings
    verb = "tunes" if settings.rates else "is"
    sentence = (
        f"It {verb} {settings_in_words(settings)}: {format_count(winner.trainable)} parameters"
    )
    rates = [
        f"of {kind.plural} {format_rate(settings.rates[kind.name])}"
        for kind in list_kinds()
        if kind.name in settings.rates
    ]
    if rates:
        sentence += f", learning rate {', '.join(rates)}"
    if settings.rates:
        sentence += f", λ {format_rate(settings.distill_weight)}"
    optimism = board.optimism.remark_on(winner.val_score) if board.optimism else ""
    return f"{sentence}; {percent(winner.val_score)} % on validation{optimism}."
