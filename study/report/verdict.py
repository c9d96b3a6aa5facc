"""What a study found, in sentences that claim no more than the intervals allow."""

from collections.abc import Iterator

from study.config.labels import BEST_PEER, SMALLEST, TUNED, WITH_DELTA, ZERO_SHOT
from study.process.terminal_table import amount
from study.report.formatting import (
    chance_sentences,
    describe_difference,
    describe_missed,
    format_count,
    format_mean,
    percent,
    probability,
    settings_in_words,
)
from study.report.names import candidate_name, entry_name
from study.report.scope import other_readers_sentence
from study.results.entries import Entry
from study.results.intervals import MeanInterval
from study.results.leaderboard import Leaderboard, rivals_above_winner
from study.results.statistics import SIGNIFICANCE, Comparison, PairedDifference
from study.results.validation_check import CLOSE_TO_BEST, ValidationCheck
from study.trial.study import BEST

SEED_BIAS = 0.02
"""By how many points simulated studies scored higher since a seed was the search's too."""
SELECTION = (
    "No interval covers the choices themselves: another search, or other validation images, could "
    "choose other settings, whose scores may differ by more."
)
"""What the intervals of a comparison leave out, whoever is compared."""


def verdict(board: Leaderboard) -> tuple[str, ...]:
    """Return what a study found: the choice, its two fixed comparisons, and what qualifies it."""
    metric, chosen = _metric(board), board.chosen
    zero_shot = getattr(board.find_entry(ZERO_SHOT), "balanced", None)
    chance = chance_sentences(board.chance, zero_shot, board.protocol.guess)
    if board.entries and not board.searched:
        tested = ", ".join(
            f"“{entry_name(board, entry)}” {format_mean(entry.test)} %" for entry in board.entries
        )
        mean = f"mean {metric} over the datasets" if board.scored_datasets else metric
        return f"Nothing was searched; configurations tested as given, {mean}: {tested}.", *chance
    if chosen is None:
        what = "The choice has no test score" if board.entries else "Nothing is confirmed on test"
        return f"{what} yet, so there is no winner to judge.", *chance
    name = "" if chosen.label == BEST else f"“{entry_name(board, chosen)}”, "
    return (
        f"Validation chose {name}{settings_in_words(chosen.settings)}: "
        f"{describe_score(chosen.test)} {metric} on test.",
        *chance,
        *judge_choice(board),
    )


def headline(board: Leaderboard) -> tuple[str, str] | None:
    """Return the test score of the choice, and the rest of the sentence that begins with it.

    The sentence has its intervals, chance and zero-shot's score. None means that nothing was
    chosen, or the choice has no test score.
    """
    chosen = board.chosen
    if chosen is None or not board.searched:
        return None
    zero_shot = board.find_entry(ZERO_SHOT)
    beside = []
    if board.chance is not None:
        guess = board.protocol.guess
        guess = f"{guess[0].lower()}{guess[1:]}"
        beside.append(f"{guess} would have a balanced score of {percent(board.chance)} % (chance)")
    if zero_shot is not None:
        beside.append(f"zero-shot CLIP scores {describe_score(zero_shot.test)}")
    metric = (
        f"mean {board.metric} over the target datasets" if board.scored_datasets else _metric(board)
    )
    return (
        f"{percent(chosen.test.mean)} %",
        f"{metric} on test for the {'winner' if chosen.is_winner else 'choice'} ("
        f"{_interval_and_seeds(chosen.test)})" + (f"; {', and '.join(beside)}." if beside else "."),
    )


def judge_choice(board: Leaderboard) -> tuple[str, ...]:
    """Return how the choice compares with its rivals and with chance, and what qualifies it."""
    chosen, winner = board.chosen, board.winner
    if chosen is None:
        return ()
    above = any(entry.above_chance for entry in board.entries)
    return (
        *(
            _judge_winner(board, winner)
            if winner
            else [
                f"The choice does not beat chance (balanced {percent(_balanced(chosen))} % against "
                f"{percent(chosen.chance)} %), so there is no winner."
            ]
        ),
        *validation_score_sentence(board),
        *([] if above else ["Nothing that was tested beats chance."]),
        *_highest(board, chosen),
        *filter(None, [other_readers_sentence(board.other_readers)]),
    )


def _highest(board: Leaderboard, chosen: Entry) -> Iterator[str]:
    """Yield which candidate has the highest test mean, where that is not the choice."""
    top = board.entries[0]
    if not top.above_chance or top.test.mean <= chosen.test.mean:
        return
    why = "but validation did not choose it"
    if top.val_score is None:
        why = "but it was not to be chosen: it shows what a part of the choice adds"
    yield (
        f"“{entry_name(board, top)}” has the highest test mean ({format_mean(top.test)} %), {why}; "
        "choosing it now would be choosing by the test images."
    )


def validation_score_sentence(board: Leaderboard) -> tuple[str, ...]:
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
        f"The winner is {known.doubt}: its balanced score is {format_mean(winner.balanced)} %, and "
        f"chance is {percent(known.chance)} %."
    )


def _metric(board: Leaderboard) -> str:
    if board.parts:
        return f"harmonic mean of {' and '.join(board.parts)} accuracy"
    return board.metric


def describe_score(score: MeanInterval) -> str:
    """Return a score in percent with its interval and its number of seeds, in words."""
    return f"{percent(score.mean)} % ({_interval_and_seeds(score)})"


def _interval_and_seeds(score: MeanInterval) -> str:
    if score.low is None:
        return amount(score.n, "seed")
    low, high = percent(score.low), percent(score.high)
    return f"95 % interval {low} to {high}, {amount(score.n, 'seed')}"


def judge_comparison(comparison: Comparison) -> str:
    """Return whether a difference is more than noise: by its interval and Holm's p.

    Beside it stands how large a difference would have had to be to be seen.
    """
    found = comparison.paired.difference
    side = "better" if found.mean > 0 else "worse"
    if found.p_value is None:
        return "not tested"
    if found.within_noise:
        noise = "within noise"
    elif (comparison.holm_p or 0.0) > SIGNIFICANCE:
        noise = f"{side} by its own interval, but not once corrected for two tests"
    else:
        noise = f"{side}, beyond noise"
    return f"{noise}; {describe_missed(found)}"


def describe_rivals_above(board: Leaderboard) -> Iterator[str]:
    """Yield a sentence for each baseline and peer with a higher test mean than the winner.

    Those of the fixed comparisons have a sentence of their own.
    """
    for entry, paired in rivals_above_winner(board):
        if not board.planned_comparisons.keys().isdisjoint(entry.labels):
            continue
        size = "no common seed" if paired is None else describe_difference(paired.difference)
        kind = "other method" if entry.is_peer else "baseline"
        yield (
            f"The winner’s mean is below the {kind} “{entry_name(board, entry)}”: {size}: "
            f"{_descriptive(paired)}."
        )


def _descriptive(paired: PairedDifference | None) -> str:
    """Return whether a difference that is not among the fixed ones is more than noise."""
    if paired is None or paired.p_value is None:
        return "not tested"
    noise = "within noise" if paired.within_noise else "beyond noise"
    return f"{noise}; {describe_missed(paired.difference)}"


def _judge_winner(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield sentences that compare the winner with its rivals, and with what is smaller."""
    yield from _in_doubt(winner)
    if winner.is_peer:
        yield (
            "It adapts CLIP in another way than by tuning its biases and LayerNorms: no choice of "
            "those validated better."
        )
    elif winner.is_baseline:
        yield "It was given beforehand: the search found nothing that validated better."
    tests = (
        "corrected for 2 tests by Holm" if len(board.planned_comparisons) > 1 else "the only test"
    )
    for label in (TUNED, *([board.top_peer] if board.top_peer else ())):
        rival, comparison, name = (
            board.find_entry(label),
            board.planned_comparisons.get(label),
            candidate_name(label),
        )
        if label == BEST_PEER and rival is not None:
            name = f"the best other method by validation ({settings_in_words(rival.settings)})"
        if rival is None:
            yield (
                f"{name[0].upper()}{name[1:]} has no test score, so the winner cannot be compared "
                "with it."
            )
        elif comparison is not None:
            higher = ", whose mean is higher" if rival.test.mean > winner.test.mean else ""
            yield (
                f"Against {name}{higher}: {describe_difference(comparison.paired.difference)}, "
                f"over {amount(len(comparison.paired.seeds), 'seed')} in common, p "
                f"{probability(comparison.holm_p)} ({tests}): {judge_comparison(comparison)}."
            )
    if board.planned_comparisons:
        yield SELECTION
    yield from describe_rivals_above(board)
    yield from _smallest(board, winner)
    yield from _kept(board, winner)


def _smallest(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield what the smallest candidate within one standard error saves, where one was tested."""
    smallest = board.smallest_near_best
    if smallest is winner:
        yield "No smaller configuration did about as well on validation as the winner."
    elif smallest is not None:
        paired = board.difference(smallest, winner)
        size = f", {describe_difference(paired.difference)} against the winner" if paired else ""
        name = "" if smallest.label == SMALLEST else f", “{entry_name(board, smallest)}”,"
        yield (
            f"A smaller configuration{name} did about as well on validation (within one standard "
            f"error): {settings_in_words(smallest.settings)}, which trains "
            f"{format_count(smallest.trainable)} numbers instead of "
            f"{format_count(winner.trainable)}. On test: {describe_score(smallest.test)}{size}."
        )


def _kept(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield what stands for a winner that writes no delta, wherever a delta is needed."""
    kept = board.find_entry(WITH_DELTA)
    if kept is not None:
        paired = board.difference(kept, winner)
        size = f", {describe_difference(paired.difference)} against the winner" if paired else ""
        yield (
            f"The winner, {settings_in_words(winner.settings)}, writes no delta. The best by "
            f"validation that does{', which is registered,' if board.registration else ''} is "
            f"{settings_in_words(kept.settings)}: {describe_score(kept.test)}{size}."
        )


def validation_findings(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how well validation ranked, and what base classes alone would pick."""
    if board.entries and not board.searched:
        return ("There was no choice to make, so validation images were not looked at.",)
    return (
        *_of_ranking(board.validation_check),
        *_of_regret(board),
        *_of_base_validation(board),
        *_of_shared_seeds(board),
    )


def _of_ranking(check: ValidationCheck) -> Iterator[str]:
    """Yield how alike the orders by validation and by test are, over all and among the best."""
    agreement = check.agreement
    if agreement is None:
        yield "Too few distinct candidates to say how well validation ranked test scores."
        return
    within = f"within {percent(CLOSE_TO_BEST, 0)} points of the best by validation"
    if check.close is not None:
        among = f"among the {check.close.n} {within} it is {_signed(check.close.rho)}"
    else:
        among = f"too few of the {check.ranked_close} {within} differ to say it of them alone"
    yield (
        f"Rank correlation of validation and test (Spearman’s rho; 1 is the same order, 0 is no "
        f"relation) over {agreement.n} candidates: {_signed(agreement.rho)}; {among}."
    )


def _signed(rho: float) -> str:
    return f"{rho:+.2f}".replace("-", "−")


def _of_regret(board: Leaderboard) -> Iterator[str]:
    """Yield which of the candidates that validation ranked has the highest test mean."""
    regret = board.validation_check.regret
    if regret is None:
        return
    by_label = {entry.label: entry for entry in board.entries}
    picked, best = by_label[regret.picked], by_label[regret.best]
    top = board.entries[0]
    ranked = f"Of the {board.validation_check.ranked} candidates with a validation score, "
    unranked = ""
    if top.val_score is None and top.test.mean > best.test.mean:
        name = entry_name(board, top)
        unranked = f" “{name}”, whose mean is higher, was not to be chosen and has none."
    if not regret.loss:
        yield f"{ranked}the best by validation has the highest test mean too.{unranked}"
        return
    paired = board.difference(picked, best)
    size = (
        f"{percent(regret.loss)} points"
        if paired is None
        else describe_difference(paired.difference)
    )
    yield (
        f"{ranked}“{entry_name(board, best)}” has the highest test mean. Against it, the best by "
        f"validation has {size}; the highest of several means is in part the luckiest.{unranked}"
    )


def _of_base_validation(board: Leaderboard) -> Iterator[str]:
    """Yield what validation on base classes alone would have chosen."""
    check = board.validation_check
    pick = board.find_entry(check.base_pick or "")
    if pick is not None:
        same = " – the same candidate" if pick.is_chosen else ""
        yield (
            "Among the candidates, base validation alone would have picked "
            f"“{entry_name(board, pick)}” ({format_mean(pick.test)} % on test){same}."
        )
    if check.base_pick_trial:
        yield (
            f"Over the whole search, base validation alone would have picked trial "
            f"{check.base_pick_trial}, which was not confirmed: its test score is unknown."
        )


def _of_shared_seeds(board: Leaderboard) -> Iterator[str]:
    """Yield which seeds of the test are the search's too, whose images took part in the choice."""
    searched = {trial.seed for trial in board.stage("search")}
    tested = {trial.seed for trial in board.stage("confirm") if trial.test_score is not None}
    common = sorted(searched & tested)
    if common and len(tested) > 1:
        named = ", ".join(map(str, common))
        yield (
            f"Seed {named} of the test is the search’s too: its training images took part in the "
            f"choice. In simulated studies this raised scores by {SEED_BIAS} points at most."
        )
