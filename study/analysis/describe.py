"""The short description of a study on its parent run in MLflow: what won, and by how much."""

from __future__ import annotations

from study.analysis.ablation import ablation_table
from study.analysis.ablation_output import to_markdown as ablation_markdown
from study.analysis.comparison import Entry, Leaderboard
from study.analysis.formatting import (
    NAMES,
    count,
    difference,
    interval,
    judgement,
    percent,
    rate,
)
from study.analysis.leaderboard import to_markdown
from study.analysis.results import Results
from study.analysis.tables import markdown_text
from study.method.parameters import all_kinds
from study.storage.ledger import Registration

CHAMPION = "champion"


def describe_study(results: Results, board: Leaderboard) -> str:
    """Return the description of a finished study in Markdown."""
    if results.ablates:
        return _spaced(ablation_markdown(ablation_table(results)))
    registration = results.registration
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    parts = (
        _headline(results, board, board.chosen) if board.chosen else "",
        f"`{loading_line(registration, lasting=True)}`" if registration else "",
        _settings(board.winner) if board.winner else "",
        markdown_text(champion_sentence(registration)) if registration else "",
        _spaced(to_markdown(board).split("\n\n", 1)[1]),
        "`report.html` among this run's artifacts tells the whole.",
    )
    return "\n\n".join(filter(None, parts))


def loading_line(registration: Registration, *, lasting: bool = False) -> str:
    """Return the line of Python that loads a winner.

    Args:
        registration: the winner's place in the model registry.
        lasting: whether to name the version, since the alias may move to a later one.
    """
    alias = registration.champion and not lasting
    address = f"models:/{registration.model}@{CHAMPION}" if alias else registration.uri
    return f'mlflow.pyfunc.load_model("{address}").predict(["image.png"])'


def champion_sentence(registration: Registration) -> str:
    """Return the sentence that says whether the winner is champion, and why."""
    verb = "is" if registration.champion else "is not"
    return (
        f"Version {registration.version} of {registration.model} {verb} {CHAMPION}: "
        f"{registration.reason}."
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
    if not chosen.winner:
        return (
            f"**No winner: {name}, chosen by validation, does not beat chance on test** "
            f"({interval(chosen.test)} % against {percent(chosen.chance)} %)."
        )
    result = f"**{name} ★ won: {interval(chosen.test)} % on test**"
    if board.parts:
        parts = (f"{part} {interval(chosen.parts.get(part))}" for part in board.parts)
        result += f" ({', '.join(parts)})"
    against = [
        f"{difference(comparison.paired)} points against {NAMES[baseline]}"
        f" ({judgement(comparison)})"
        for baseline, comparison in chosen.versus.items()
        if comparison is not None
    ]
    return "; ".join([result, *against]) + "."


def _settings(winner: Entry) -> str:
    """Return the sentence that says what the winner tunes and how it was trained."""
    settings = winner.settings
    tuned = [kind for kind in all_kinds() if kind.name in settings.rates]
    rates = (f"of {kind.plural} {rate(settings.rates[kind.name])}" for kind in tuned)
    numbers = (
        f"{count(winner.trainable)} parameters",
        f"learning rate {', '.join(rates)}" if tuned else "",
        f"λ {rate(settings.distill_weight)}" if winner.trainable else "",
    )
    return markdown_text(
        f"It tunes {settings.subset or 'none'}: "
        + ", ".join(filter(None, numbers))
        + f"; {percent(winner.val_score)} % on validation."
    )
