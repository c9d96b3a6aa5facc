"""What a study found, in sentences that claim no more than the intervals allow."""

from collections.abc import Iterator

from study.config.labels import AVERAGE, BEST_PEER, SMALLEST, TUNED, WITH_DELTA, ZERO_SHOT
from study.process.terminal_table import amount
from study.report.formatting import (
    chance_sentences,
    describe_difference,
    describe_missed,
    format_correlation,
    format_count,
    format_mean,
    percent,
    probability,
)
from study.report.names import entry_name, rival_name
from study.report.scope import same_test_sentences
from study.report.setting_descriptions import settings_in_words
from study.report.shipping import describe_shipped
from study.results.entries import PUBLISHED, Entry
from study.results.intervals import MeanInterval
from study.results.leaderboard import Leaderboard, rivals_above_winner
from study.results.statistics import SIGNIFICANCE
from study.results.validation_check import CLOSE_TO_BEST, ValidationCheck
from study.trial.study import BEST

SEED_BIAS = 0.02
"""By how many points simulated studies scored higher because a test seed was the search's too."""
SELECTION = (
    "No interval covers the choices themselves: another search, or other validation images, could "
    "choose other settings, whose scores may differ by more."
)
"""What the intervals of every comparison leave out."""


def verdict(board: Leaderboard) -> tuple[str, ...]:
    """Return what a study found: the choice, its two fixed comparisons, and what qualifies it."""
    zero_shot = board.find_entry(ZERO_SHOT)
    balanced = zero_shot.balanced if zero_shot else None
    chance = chance_sentences(board.chance, balanced, board.protocol.guess)
    choice = board.chosen
    if board.entries and not board.has_search:
        return (_describe_tests_without_search(board), *chance)
    if not choice:
        state = "Nothing is confirmed on test"
        if board.entries:
            state = "The choice has no test score"
        return (f"{state} yet, so there is no winner to judge.", *chance)
    words = settings_in_words(choice.settings)
    if choice.label != BEST and not choice.is_peer:  # the words of a peer begin with its name
        words = f"“{entry_name(board, choice)}”, {words}"
    score = f"{describe_score(choice.test)} {metric_name(board)}"
    return (f"Validation chose {words}: {score} on test.", *chance, *judge_choice(board))


def _describe_tests_without_search(board: Leaderboard) -> str:
    """Return the scores of a study that tested the configurations it was given."""
    scores = [
        f"“{entry_name(board, entry)}” {format_mean(entry.test, ' %')}" for entry in board.entries
    ]
    listed = ", ".join(scores)
    return f"Nothing was searched; configurations tested as given, {metric_name(board)}: {listed}."


def headline(board: Leaderboard) -> tuple[str, str] | None:
    """Return the test score of the choice, and the rest of the sentence that begins with it.

    The rest has the interval of the score, chance, and zero-shot's score.

    Returns:
        None if nothing was searched or chosen, or the choice has no test score.
    """
    choice = board.chosen
    if not choice or not board.has_search:
        return None
    comparisons = []
    if board.chance is not None:
        guess = board.protocol.guess
        guess = f"{guess[0].lower()}{guess[1:]}"
        chance = percent(board.chance)
        comparisons.append(f"{guess} would have a balanced score of {chance} % (chance)")
    zero_shot = board.find_entry(ZERO_SHOT)
    if zero_shot:
        comparisons.append(f"zero-shot CLIP scores {describe_score(zero_shot.test)}")
    sentence = f"{metric_name(board)} on test for the {board.chosen_word} "
    sentence += f"({_interval_and_seeds(choice.test)})"
    if comparisons:
        sentence += f"; {', and '.join(comparisons)}"
    return (f"{percent(choice.test.mean)} %", f"{sentence}.")


def judge_choice(board: Leaderboard) -> Iterator[str]:
    """Yield how the choice compares with its rivals and with chance, and what qualifies it."""
    choice = board.chosen
    winner = board.winner
    if not choice:
        return
    if winner:
        yield from _judge_winner(board, winner)
    else:
        mean = choice.balanced.mean if choice.balanced else None
        yield (
            f"The choice does not beat chance (balanced {percent(mean)} % against "
            f"{percent(choice.chance)} %), so there is no winner."
        )
    yield from _describe_validation_score(board)
    if not any(entry.above_chance for entry in board.entries):
        yield "Nothing that was tested beats chance."
    yield from _describe_highest_mean(board, choice)
    yield from same_test_sentences(board)


def _describe_highest_mean(board: Leaderboard, choice: Entry) -> Iterator[str]:
    """Yield which candidate has the highest test mean, if that is not the choice."""
    top = board.entries[0]
    if not top.above_chance or top.test.mean <= choice.test.mean or top is board.shipped:
        return
    reason = "but validation did not choose it"
    if top.val_score is None:
        reason = "but it was not to be chosen: it shows what a part of the choice adds"
    yield (
        f"“{entry_name(board, top)}” has the highest test mean ({format_mean(top.test, ' %')}), "
        f"{reason}; choosing it now would be choosing by the test images."
    )


def _describe_validation_score(board: Leaderboard) -> Iterator[str]:
    """Yield the validation score of the choice, which is a maximum, and what to expect of it.

    There is no sentence where it is not known what to expect.
    """
    choice = board.chosen
    if not choice or not board.optimism:
        return
    optimism = board.optimism.remark_on(choice.val_score)
    if optimism:
        yield f"On validation the choice has {percent(choice.val_score)} %{optimism} (bootstrap)."


def _describe_doubt(winner: Entry) -> Iterator[str]:
    """Yield that the winner is not shown to beat chance, if it is not."""
    against_chance = winner.against_chance
    if not against_chance or against_chance.is_proven:
        return
    yield (
        f"The winner is not shown to beat chance: on {format_count(winner.images)} test images its "
        f"balanced score is {format_mean(winner.balanced, ' %')}, and chance is "
        f"{percent(winner.chance)} %."
    )


def metric_name(board: Leaderboard) -> str:
    """Return what the protocol's score is, and over what it is a mean."""
    if board.parts:
        accuracy = "balanced accuracy" if board.metric.startswith("balanced") else "accuracy"
        return f"harmonic mean of {' and '.join(board.parts)} {accuracy}"
    if board.scored_datasets:
        kind = "target datasets" if board.protocol.trains else "datasets"
        return f"mean {board.metric} over the {kind}"
    return board.metric


def describe_score(score: MeanInterval) -> str:
    """Return a score in percent with its interval and its number of seeds, in words."""
    return f"{percent(score.mean)} % ({_interval_and_seeds(score)})"


def _interval_and_seeds(score: MeanInterval) -> str:
    if score.low is None:
        return amount(score.n, "seed")
    alone = " over seeds alone" if score.images is None else ""
    ends = f"{percent(score.low)} to {percent(score.high)}"
    return f"95 % interval{alone} {ends}, {amount(score.n, 'seed')}"


def judge(difference: MeanInterval) -> str:
    """Return `judgement`, and the true difference that would be missed half the time."""
    if difference.p_value is None:
        return judgement(difference)
    return f"{judgement(difference)}; {describe_missed(difference)}"


def judgement(difference: MeanInterval) -> str:
    """Return whether a difference is more than noise: by its interval and, if fixed, Holm's p."""
    if difference.p_value is None:
        return "not tested"
    if difference.within_noise:
        return "within noise"
    side = "better" if difference.mean > 0 else "worse"
    if (difference.holm_p or 0.0) > SIGNIFICANCE:
        return f"{side} by its own interval, but not once corrected for the number of tests"
    return f"{side}, beyond noise"


def describe_rivals_above(board: Leaderboard) -> Iterator[str]:
    """Yield a sentence for each baseline and peer with a higher test mean than the winner.

    Those of the fixed comparisons have a sentence of their own.
    """
    for entry, difference in rivals_above_winner(board):
        if not board.planned_comparisons.keys().isdisjoint(entry.labels):
            continue
        findings = "no common seed: not tested"
        if difference:
            findings = f"{describe_difference(difference)}: {judge(difference)}"
        kind = "other method" if entry.is_peer else "baseline"
        yield (
            f"The winner’s mean is not above that of the {kind} “{entry_name(board, entry)}”: "
            f"{findings}."
        )


def _judge_winner(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield sentences that compare the winner with its rivals, and with smaller candidates."""
    yield from _describe_doubt(winner)
    if winner.is_peer:
        yield (
            "It adapts CLIP in another way than by tuning its biases and LayerNorms: no choice of "
            "those validated better."
        )
    elif TUNED in winner.labels and PUBLISHED not in winner.labels:
        yield ("It is CLIPFit with rates from its own search: no searched subset validated better.")
    elif winner.is_baseline:
        yield "It was given beforehand: the search found nothing that validated better."
    for label in board.rivals:
        yield from _compare_with_rival(board, winner, label)
    if board.planned_comparisons:
        yield SELECTION
    yield from describe_shipped(board)
    yield from describe_rivals_above(board)
    yield from _describe_smallest(board, winner)
    yield from _describe_best_with_delta(board, winner)


def _compare_with_rival(board: Leaderboard, winner: Entry, label: str) -> Iterator[str]:
    """Yield the fixed comparison of the winner with a rival, or that the rival has no score."""
    rival = board.find_entry(label)
    comparison = board.planned_comparisons.get(label)
    name = rival_name(board, label)
    if not rival and label == AVERAGE:
        return
    if not rival:
        yield (
            f"{name[0].upper()}{name[1:]} has no test score, so the winner cannot be compared "
            "with it."
        )
        return
    if not comparison:
        return
    if label == BEST_PEER:
        name = f"the best other method by validation ({settings_in_words(rival.settings)})"
    if rival.test.mean > winner.test.mean:
        name += ", whose mean is higher"
    sentence = f"Against {name}: {describe_difference(comparison)}, "
    sentence += f"over {amount(comparison.n, 'seed')} in common"
    if comparison.holm_p is not None:
        number = len(board.planned_comparisons)
        tests = f"corrected for {number} tests by Holm" if number > 1 else "the only test"
        sentence += f", p {probability(comparison.holm_p)} ({tests})"
    yield f"{sentence}: {judge(comparison)}."


def _describe_smallest(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield what the smallest candidate within one standard error saves, if one was tested."""
    smallest = board.find_entry(SMALLEST)
    if smallest is winner:
        yield "No smaller configuration did about as well on validation as the winner."
        return
    if not smallest:
        return
    name = ""
    if smallest.label != SMALLEST:
        name = f", “{entry_name(board, smallest)}”,"
    yield (
        f"A smaller configuration{name} did about as well on validation (within one standard "
        f"error): {settings_in_words(smallest.settings)}, which trains "
        f"{format_count(smallest.trainable)} numbers instead of "
        f"{format_count(winner.trainable)}. On test: {_score_beside(board, smallest, winner)}."
    )


def _describe_best_with_delta(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield which candidate stands for a winner that writes no delta, where a delta is needed."""
    substitute = board.find_entry(WITH_DELTA)
    if not substitute:
        return
    registered = ", which is registered," if board.registration else ""
    yield (
        f"The winner, {settings_in_words(winner.settings)}, writes no delta. The best by "
        f"validation that does{registered} is {settings_in_words(substitute.settings)}: "
        f"{_score_beside(board, substitute, winner)}."
    )


def _score_beside(board: Leaderboard, entry: Entry, winner: Entry) -> str:
    """Return the test score of a candidate, and its difference to the winner."""
    score = describe_score(entry.test)
    difference = board.difference(entry, winner)
    if not difference:
        return score
    return f"{score}, {describe_difference(difference)} against the winner"


def validation_findings(board: Leaderboard) -> Iterator[str]:
    """Yield sentences on how well validation ranked, and what base classes alone would pick."""
    if board.entries and not board.has_search:
        yield "There was no choice to make, so validation images were not looked at."
        return
    yield _describe_ranking(board.validation_check)
    yield from _describe_regret(board)
    yield from _describe_base_validation(board)
    yield from _describe_shared_seeds(board)


def _describe_ranking(check: ValidationCheck) -> str:
    """Return how alike the orders by validation and by test are, over all and among the best."""
    agreement = check.agreement
    if not agreement:
        return "Too few distinct candidates to say how well validation ranked test scores."
    within = f"within {percent(CLOSE_TO_BEST, 0)} points of the best by validation"
    if check.close:
        among = f"among the {check.close.n} {within} it is {format_correlation(check.close.rho)}"
    else:
        among = f"too few {within} differ to say it of them alone"
    return (
        f"Rank correlation of validation and test (Spearman’s rho; 1 is the same order, 0 is no "
        f"relation) over {agreement.n} candidates: {format_correlation(agreement.rho)}; {among}."
    )


def _describe_regret(board: Leaderboard) -> Iterator[str]:
    """Yield which of the candidates that validation ranked has the highest test mean."""
    choice = board.chosen
    if not choice or not choice.is_ranked:
        return
    top = board.entries[0]
    ranked = [entry for entry in board.entries if entry.is_ranked]
    best = ranked[0]
    among = f"Of the {amount(len(ranked), 'candidate')} with a validation score, "
    unranked = ""
    if top.val_score is None and top.test.mean > best.test.mean:
        name = entry_name(board, top)
        unranked = f" “{name}”, whose mean is higher, was not to be chosen and has no such score."
    if best is choice:
        yield f"{among}the best by validation has the highest test mean too.{unranked}"
        return
    difference = board.difference(choice, best)
    size = describe_difference(difference) if difference else "no common seed"
    yield (
        f"{among}“{entry_name(board, best)}” has the highest test mean. Against it, the best by "
        f"validation has {size}; the highest of several means is in part the luckiest.{unranked}"
    )


def _describe_base_validation(board: Leaderboard) -> Iterator[str]:
    """Yield what validation on base classes alone would have chosen."""
    check = board.validation_check
    pick = board.find_entry(check.base_pick or "")
    if pick:
        same = " – the same candidate" if pick.is_chosen else ""
        yield (
            "Among the candidates, base validation alone would have picked "
            f"“{entry_name(board, pick)}” ({format_mean(pick.test, ' %')} on test){same}."
        )
    if check.base_pick_trial:
        yield (
            f"Over the whole search, base validation alone would have picked trial "
            f"{check.base_pick_trial}, which was not confirmed: its test score is unknown."
        )


def _describe_shared_seeds(board: Leaderboard) -> Iterator[str]:
    """Yield which seeds of the test are the search's too, whose images took part in the choice."""
    search_seeds = {trial.seed for trial in board.stage("search")}
    tested_seeds = {trial.seed for trial in board.stage("confirm") if trial.test_score is not None}
    common = sorted(search_seeds & tested_seeds)
    if common and len(tested_seeds) > 1:
        seeds = ", ".join(map(str, common))
        yield (
            f"Seeds of the test that the search had too: {seeds}. Their training images took part "
            f"in the choice. In simulated studies this raised scores by {SEED_BIAS} points at most."
        )
