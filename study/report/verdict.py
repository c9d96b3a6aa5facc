"""What a study found, in sentences that claim no more than the intervals allow."""

from collections.abc import Sequence

from study.config.labels import LINEAR, ZERO_SHOT
from study.report.formatting import (
    format_count,
    format_difference,
    format_mean,
    percent,
    points,
    probability,
)
from study.report.names import candidate_name, entry_name
from study.report.setting_descriptions import SHOWN_OVERLAP, settings_in_words
from study.report.terminal import amount
from study.results.ablation import BASE, UNSTABLE, Ablation
from study.results.bootstrap import ResampledTests
from study.results.rows import Row
from study.results.statistics import MOST_OVERLAP, MeanInterval
from study.results.study_result import FinalModel, StudyResult
from study.storage.study_folder import Registration
from study.trial.predictions import BALANCED


def metric_name(result: StudyResult) -> str:
    """Return what the protocol's score is, and over what it is a mean."""
    if result.score_names.parts:
        kind = "balanced accuracy" if result.protocol.metric.startswith("balanced") else "accuracy"
        return f"harmonic mean of {' and '.join(result.score_names.parts)} {kind}"
    if result.score_names.datasets:
        over = "target datasets" if result.protocol.trains else "datasets"
        return f"mean {result.protocol.metric} over the {over}"
    return result.protocol.metric


def best_name(result: StudyResult) -> str:
    """Return the name of what validation selected, which is best only if it beats chance."""
    return (
        "selected configuration"
        if result.best_by_validation and not result.best
        else "best configuration"
    )


def headline(result: StudyResult) -> tuple[str, str] | None:
    """Return the test score of the best configuration, and the rest of its sentence.

    The rest has the interval, and the scores of zero-shot CLIP, of the linear classifier and of
    chance.

    Returns:
        None if nothing was searched or chosen, or the best has no test score.
    """
    best = result.best_by_validation
    if not best or not result.has_search:
        return None
    interval = amount(best.test.n, "seed")
    if best.test.low is not None:
        ends = f"{percent(best.test.low)} to {percent(best.test.high)}"
        interval = f"95 % interval {ends}, {interval}"
    rest = f"{metric_name(result)} of the {best_name(result)} on test images ({interval})."
    if others := ", ".join(reference_scores(result)):
        rest += f" For comparison: {others}."
    return f"{percent(best.test.mean)} %", rest


def reference_scores(result: StudyResult, unit: str = " %") -> list[str]:
    """Return the scores of zero-shot CLIP, the linear classifier and chance, as far as known."""
    scores = []
    for label in (ZERO_SHOT, LINEAR):
        entry = result.find_row(label)
        if entry and not entry.is_best_by_validation:
            scores.append(f"{candidate_name(label)} {format_mean(entry.test, unit)}")
    if result.chance is not None:
        scores.append(f"chance {percent(result.chance)}{unit}")
    return scores


def selection_sentence(result: StudyResult, best: Row) -> str:
    """Return what the configuration that validation selected tunes, and when it was selected."""
    when = " before any test image was read."
    if result.earlier_candidates:
        when = ". The search was extended after an earlier selection had been tested."
    tuned = f"{settings_in_words(best.settings)} ({format_count(best.trainable)} parameters)"
    return f"Validation selected {tuned}{when}"


def verdict(result: StudyResult) -> list[str]:
    """Return what a study found: its score, its best configuration, comparisons, and more.

    For an ablation, return which cells differ from the base.
    """
    if result.ablation:
        return [ablation_verdict(result.ablation)]
    best, opening = result.best_by_validation, headline(result)
    if best and opening:
        return [
            " ".join(opening),
            selection_sentence(result, best),
            *comparison_sentences(result),
            *qualifications(result, best),
        ]
    if result.has_search or not result.rows:
        return ["The best configuration has no test score yet."]
    scores = [f"{entry_name(one)} {format_mean(one.test, ' %')}" for one in result.rows]
    return [f"No search was run. Test {metric_name(result)}: {', '.join(scores)}."]


def comparison_sentences(result: StudyResult) -> list[str]:
    """Return the planned comparisons of the best configuration, the closest rival first."""
    sentences = [
        f"Against {candidate_name(label)}: {describe_comparison(comparison)}."
        for label, comparison in result.comparisons.items()
    ]
    for label in result.rivals:
        if result.best and not result.find_row(label):
            sentences.append(f"{candidate_name(label)} has no test score, so it isn’t compared.")
    return sentences


def describe_comparison(comparison: MeanInterval) -> str:
    """Return a difference in points with its interval, its p and whether it is significant."""
    return f"{format_difference(comparison)} points, {describe_significance(comparison)}"


def describe_significance(difference: MeanInterval) -> str:
    """Return whether a difference that was to be tested is significant, with its p, in words."""
    side = "better" if difference.mean > 0 else "worse"
    conclusion = {
        "not tested": "not tested",
        "not significant": "not significant",
        "uncorrected": "not significant after correction",
        "significant": side,
    }[difference.finding]
    if difference.holm_p is None:
        return conclusion
    return f"p {probability(difference.holm_p)}: {conclusion}"


def qualifications(result: StudyResult, best: Row) -> list[str]:
    """Return what a reader must know about the score of what validation selected."""
    sentences = []
    balanced = format_mean(best.means.get(BALANCED), " %")
    versus = f"balanced score {balanced}, chance {percent(result.chance)} %"
    if not result.best:
        sentences.append(f"It doesn’t beat chance ({versus}), so there is no best configuration.")
    elif best.against_chance and not best.against_chance.is_proven:
        sentences.append(f"It is not significantly better than chance ({versus}).")
    top = result.rows[0]
    if top.above_chance and top.test.mean > best.test.mean:
        sentences.append(
            f"“{entry_name(top)}” has the highest test score ({format_mean(top.test, ' %')}), but "
            "selecting it now would mean selecting on test images."
        )
    if result.comparisons:
        sentences.append(
            "Another search could select other settings; the intervals don’t account for that."
        )
    sentences += final_model_sentences(result)
    return sentences


def final_model_sentences(result: StudyResult) -> list[str]:
    """Return which configuration the final model has, and how well its own training does.

    Returns:
        Nothing if the final model is that of the best configuration, as it was tested.
    """
    final, best = result.final, result.best
    if not final or not best:
        return []
    sentences = []
    if final.row is not best:
        sentences.append(
            "The best configuration cannot be saved as a delta. The final model is the best that "
            f"can: {settings_in_words(final.row.settings)}, {format_mean(final.row.test, ' %')}."
        )
    if final.trial:
        sentences.append(f"The final model was {final_training(final)}.")
    return sentences


def final_training(final: FinalModel) -> str:
    """Return on how many images the final model was trained, and its score on test."""
    images = "more" if final.images is None else format_count(final.images)
    trained = f"trained on {images} images"
    if not final.test:
        return f"{trained}, which include the test images, so it was not tested"
    return f"{trained}: {format_mean(final.test, ' %')} (interval over test images alone)"


def registration_sentence(registered: Registration) -> str:
    """Return the registered version, whether it is champion, and why."""
    champion = "champion" if registered.champion else "not champion"
    version = f"{registered.model}, version {registered.version} ({champion})"
    return f"Registered as {version}: {registered.reason}."


def interval_scope(resampled: ResampledTests, scores: Sequence[MeanInterval]) -> list[str]:
    """Return sentences on what the intervals of some scores hold for.

    Args:
        resampled: the study's tests on resampled test images.
        scores: the mean score of each tested configuration.
    """
    overlap = resampled.overlap
    sentences = []
    if not scores:
        return []
    if all(score.n == 1 for score in scores):
        if any(score.low is None for score in scores):
            return ["With one seed, the variation over training images is unknown."]
        return ["Nothing is trained, so the intervals cover only other test images."]
    if overlap is not None and overlap >= 1:
        sentences.append(
            "All seeds trained on the same images, so the intervals cover only other test images, "
            "and no difference is tested."
        )
    else:
        images = ", training orders and test images" if resampled.scores else " and training orders"
        sentences.append(
            f"They cover the mean score over other draws from the same labelled images{images}; a "
            "single new training falls outside more often."
        )
        if overlap is not None and overlap >= SHOWN_OVERLAP:
            sentences.append(
                f"Two seeds share {percent(overlap, 0)} % of their training images on average."
            )
        if overlap is not None and overlap > MOST_OVERLAP:
            sentences.append(
                "So differences have wider intervals (after Nadeau and Bengio), which also decide "
                "significance."
            )
    if not resampled.scores:
        sentences.append("No predictions were kept, so no interval covers other test images.")
    elif resampled.single_image_class:
        sentences.append(
            "A class has a single test image or group, so the intervals of balanced scores don’t "
            "cover other test images."
        )
    return sentences


def ablation_verdict(ablation: Ablation) -> str:
    """Return which cells differ from the base, and by how much, in one line."""
    tested = [cell for cell in ablation.cells if cell.finding not in (None, "not tested")]
    if not ablation.base or not tested:
        return f"No cell can be compared with “{BASE}”."
    base = f"“{BASE}” ({format_mean(ablation.base.score, ' %')})"
    if not ablation.different:
        return f"None of {amount(len(tested), 'cell')} differs significantly from {base}."
    named = ", ".join(f"{label} {points(mean)}" for label, mean in ablation.different.items())
    count = f"{len(ablation.different)} of {amount(len(tested), 'cell')}"
    return f"{count} differ significantly from {base}: {named} points."


def ablation_notes(ablation: Ablation) -> list[str]:
    """Return which cells have no score, are unstable or are at an end of the rates tried."""
    edges = [
        f"{cell.label} ({', '.join(f'{edge} of {kind}' for kind, edge in cell.rate_edges.items())})"
        for cell in ablation.cells
        if cell.rate_edges
    ]
    cells = {
        "No score, because no trial finished": ablation.unscored,
        f"Varying over seeds more than {UNSTABLE} times as much as the median cell": [
            cell.label for cell in ablation.unstable
        ],
        "Best rate is the lowest or highest tried; rates beyond it may be better": edges,
    }
    return [f"{what}: {', '.join(labels)}." for what, labels in cells.items() if labels]
