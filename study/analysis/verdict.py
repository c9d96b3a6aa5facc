"""What a study found, in sentences that claim no more than the intervals allow."""

from collections.abc import Iterator

from study.analysis.formatting import (
    SIGNIFICANCE,
    count,
    guessing,
    interval,
    missed,
    percent,
    probability,
    settings_in_words,
    spelt,
)
from study.analysis.intervals import Estimate
from study.analysis.leaderboard import Entry, Leaderboard, above_winner
from study.analysis.names import name_of
from study.analysis.statistics import Comparison, PairedDifference
from study.config.schema import BEST_PEER, SMALLEST, TUNED, WITH_DELTA, ZERO_SHOT
from study.trial.study import BEST

SELECTION = (
    "No interval covers the choices themselves: another search, or other validation images, could "
    "choose other settings, whose scores may differ by more."
)
"""What the intervals of a comparison leave out, whoever is compared."""


def verdict(board: Leaderboard) -> tuple[str, ...]:
    """Return what a study found: the choice, its two fixed comparisons, and what qualifies it."""
    metric, chosen = _metric(board), board.chosen
    zero_shot = getattr(board.entry(ZERO_SHOT), "balanced", None)
    chance = guessing(board.chance, zero_shot, board.guess)
    if board.entries and not board.searched:
        tested = ", ".join(f"“{entry.name}” {interval(entry.test)} %" for entry in board.entries)
        mean = f"mean {metric} over the datasets" if board.targets else metric
        return f"Nothing was searched; configurations tested as given, {mean}: {tested}.", *chance
    if chosen is None:
        what = "The choice has no test score" if board.entries else "Nothing is confirmed on test"
        return f"{what} yet, so there is no winner to judge.", *chance
    name = "" if chosen.label == BEST else f"“{chosen.name}”, "
    return (
        f"Validation chose {name}{settings_in_words(chosen.settings)}: "
        f"{with_intervals(chosen.test)} {metric} on test.",
        *chance,
        *judgements(board),
    )


def headline(board: Leaderboard) -> tuple[str, str] | None:
    """Return the test score of the choice, and the rest of the sentence that begins with it.

    The sentence has its intervals, chance and zero-shot's score. None means that nothing was
    chosen, or the choice has no test score.
    """
    chosen = board.chosen
    if chosen is None or not board.searched:
        return None
    zero_shot = board.entry(ZERO_SHOT)
    beside = []
    if board.chance is not None:
        guess = f"{board.guess[0].lower()}{board.guess[1:]}"
        beside.append(f"{guess} would have a balanced score of {percent(board.chance)} % (chance)")
    if zero_shot is not None:
        beside.append(f"zero-shot CLIP scores {with_intervals(zero_shot.test)}")
    metric = f"mean {board.metric} over the target datasets" if board.targets else _metric(board)
    return (
        f"{percent(chosen.test.mean)} %",
        f"{metric} on test for the {'winner' if chosen.winner else 'choice'} ("
        f"{_interval_and_seeds(chosen.test)})" + (f"; {', and '.join(beside)}." if beside else "."),
    )


def judgements(board: Leaderboard) -> tuple[str, ...]:
    """Return how the choice compares with its rivals and with chance, and what qualifies it."""
    chosen, winner = board.chosen, board.winner
    if chosen is None:
        return ()
    top, above = board.entries[0], any(entry.above_chance for entry in board.entries)
    return (
        *(
            _judgements(board, winner)
            if winner
            else [
                f"The choice does not beat chance (balanced {percent(_balanced(chosen))} % against "
                f"{percent(chosen.chance)} %), so there is no winner."
            ]
        ),
        *validated(board),
        *([] if above else ["Nothing that was tested beats chance."]),
        *(
            [
                f"“{top.name}” has the highest test mean ({interval(top.test)} %), but validation "
                "did not choose it; taking it now would be selecting on test."
            ]
            if top.above_chance and top.test.mean > chosen.test.mean
            else []
        ),
    )


def validated(board: Leaderboard) -> tuple[str, ...]:
    """Return the validation score of the choice, which is a maximum, and what to expect of it.

    There is no sentence where that is not known.
    """
    chosen = board.chosen
    optimism = board.optimism.of(chosen.val_score) if chosen and board.optimism else ""
    if chosen is None or not optimism:
        return ()
    score = percent(chosen.val_score)
    return (f"On validation the choice has {score} %{optimism} (bootstrap).",)


def _balanced(entry: Entry) -> float | None:
    return entry.balanced.mean if entry.balanced else None


def _in_doubt(winner: Entry) -> Iterator[str]:
    """Yield that a winner is not shown to beat chance, where it is not."""
    known = winner.against_chance
    if known is None or known.shown:
        return
    yield (
        f"The winner is {known.doubt}: its balanced score is {interval(winner.balanced)} %, and "
        f"chance is {percent(known.chance)} %."
    )


def _metric(board: Leaderboard) -> str:
    if board.parts:
        return f"harmonic mean of {' and '.join(board.parts)} accuracy"
    return board.metric


def with_intervals(score: Estimate) -> str:
    """Return a score in percent with its interval and its number of seeds, in words."""
    return f"{percent(score.mean)} % ({_interval_and_seeds(score)})"


def _interval_and_seeds(score: Estimate) -> str:
    if score.low is None:
        return seed_count(score.n)
    low, high = percent(score.low), percent(score.high)
    return f"95 % interval {low} to {high}, {seed_count(score.n)}"


def judgement(comparison: Comparison) -> str:
    """Return whether a difference is more than noise: by its interval and Holm's p.

    Beside it stands how large a difference would have had to be to be seen.
    """
    found = comparison.paired.difference
    side = "above" if found.mean > 0 else "below"
    if found.p is None:
        return "not tested"
    if found.within_noise:
        noise = "within noise"
    elif (comparison.holm_p or 0.0) > SIGNIFICANCE:
        noise = f"{side} by its own interval, but not after correction for two comparisons"
    else:
        noise = f"{side}, by more than noise"
    return f"{noise}; {missed(found)}"


def surpassing(board: Leaderboard) -> Iterator[str]:
    """Yield a sentence for each baseline and peer with a higher test mean than the winner.

    Those of the fixed comparisons have a sentence of their own.
    """
    for entry, paired in above_winner(board):
        if not board.fixed.keys().isdisjoint(entry.labels):
            continue
        size = "no common seed" if paired is None else spelt(paired.difference)
        kind = "peer" if entry.peer else "baseline"
        yield (
            f"The winner’s mean is below the {kind} “{entry.name}”: {size}: {_descriptive(paired)}."
        )


def _descriptive(paired: PairedDifference | None) -> str:
    """Return whether a difference that is not among the fixed ones is more than noise."""
    if paired is None or paired.p is None:
        return "not tested"
    noise = "within noise" if paired.within_noise else "beyond noise"
    return f"{noise}; {missed(paired.difference)}"


def _judgements(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield sentences that compare the winner with its rivals, and with what is smaller."""
    yield from _in_doubt(winner)
    if winner.peer:
        yield (
            "That is a peer, which does not tune CLIP’s own biases and LayerNorms: "
            "no choice of those validated better."
        )
    elif winner.baseline:
        yield "That is a baseline: the search found nothing that validated better."
    tests = "Holm, 2 fixed comparisons" if len(board.fixed) > 1 else "the only fixed comparison"
    for label in (TUNED, *([board.peer] if board.peer else ())):
        rival, comparison, name = board.entry(label), board.fixed.get(label), name_of(label)
        if label == BEST_PEER and rival is not None:
            name = f"the best peer by validation ({settings_in_words(rival.settings)})"
        if rival is None:
            yield (
                f"{name[0].upper()}{name[1:]} has no test score, so the winner cannot be compared "
                "with it."
            )
        elif comparison is not None:
            higher = ", whose mean is higher" if rival.test.mean > winner.test.mean else ""
            yield (
                f"Against {name}{higher}: {spelt(comparison.paired.difference)}, over "
                f"{seed_count(len(comparison.paired.seeds))} in common, p "
                f"{probability(comparison.holm_p)} ({tests}): {judgement(comparison)}."
            )
    if board.fixed:
        yield SELECTION
    yield from surpassing(board)
    yield from _stopped(board)
    yield from _smallest(board, winner)
    yield from _kept(board, winner)


def _stopped(board: Leaderboard) -> Iterator[str]:
    """Yield which candidates have fewer seeds, since they were told apart from the winner."""
    if board.stopped:
        names = {e.label: e.name for e in board.entries}
        listed = ", ".join(f"“{names[k]}” after {n}" for k, n in board.stopped.items())
        yield (
            f"Told apart from the winner on these test images before the last seed, and given no "
            f"more: {listed}. What "
            "is stopped when it looks different looks more different than it is: these means and "
            "intervals are not of its true size."
        )


def _smallest(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield what the smallest candidate within one standard error saves, where one was tested."""
    smallest = board.smallest
    if smallest is winner:
        yield "The winner is already the smallest within one standard error of the best."
    elif smallest is not None:
        paired = board.difference(smallest, winner)
        size = f", {spelt(paired.difference)} against the winner" if paired else ""
        name = "" if smallest.label == SMALLEST else f", “{smallest.name}”,"
        yield (
            f"The smallest within one standard error of the best by validation{name} trains "
            f"{count(smallest.trainable)} numbers instead of {count(winner.trainable)} "
            f"({settings_in_words(smallest.settings)}): {with_intervals(smallest.test)}{size}."
        )


def _kept(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield what stands for a winner that writes no delta, wherever a delta is needed."""
    kept = board.entry(WITH_DELTA)
    if kept is not None:
        paired = board.difference(kept, winner)
        size = f", {spelt(paired.difference)} against the winner" if paired else ""
        yield (
            f"The winner, {settings_in_words(winner.settings)}, writes no delta. The best by "
            f"validation that does{', which is registered,' if board.registration else ''} is "
            f"{settings_in_words(kept.settings)}: {with_intervals(kept.test)}{size}."
        )


def validation_findings(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how well validation ranked, and what base classes alone would pick."""
    check = board.check
    agreement, regret, pick = check.agreement, check.regret, board.entry(check.base_pick or "")
    names = {entry.label: entry.name for entry in board.entries}
    if board.entries and not board.searched:
        return ("There was no choice to make, so validation images were not looked at.",)
    sentences = (
        f"Validation against test over {agreement.n} candidates: Spearman’s rho "
        f"{agreement.rho:+.2f} (p {probability(agreement.p)}).".replace("-", "−")
        if agreement
        else "Too few distinct candidates to say how well validation ranked test scores.",
        "Of the candidates that validation ranked, its best was also best on test."
        if regret and not regret.loss
        else "",
        f"The best candidate by validation, “{names[regret.picked]}”, is {percent(regret.loss)} "
        f"points below the best on test, “{names[regret.best]}” (means over seeds)."
        if regret and regret.loss
        else "",
        f"Among the candidates, base validation alone would have picked “{pick.name}” "
        f"({interval(pick.test)} % on test){' – the same candidate' if pick.chosen else ''}."
        if pick
        else "",
        f"Over the whole search, base validation alone would have picked trial "
        f"{check.base_pick_trial}, which was not confirmed: its test score is unknown."
        if check.base_pick_trial
        else "",
    )
    return tuple(filter(None, sentences))


def seed_count(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"
