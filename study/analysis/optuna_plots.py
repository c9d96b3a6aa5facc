"""Plots of a search that Optuna draws or computes, each with plotly and with matplotlib."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import TrialState

from study.analysis.charts import BLUE, ORANGE, Plot, png_bytes, style_plotly

MIN_TRIALS = 10
"""The fewest complete trials for which importances and parallel coordinates are not just noise."""
TRUSTED_TRIALS = 50
"""The fewest complete trials for which a caption does not warn that importances are noisy."""
MOST_PARAMETERS = 10
"""The most axes with which parallel coordinates are readable."""
MOST = 0.6
"""The smallest share of the complete trials that must have all plotted parameters."""
SEED = 0
"""The seed of the forests that importances come from, so that plots are reproducible."""
# Percent would need a target function, and with one Optuna omits the line of the best score so far
# and reverses its colour scale.
TARGET = "validation score (fraction)"


def history_plot(studies: Mapping[str, optuna.Study]) -> Plot:
    """Draw each arm's scores of complete trials in their order, and the best so far."""
    name, title = "history", "Optimisation history"
    caption = "Validation score of each trial that Optuna counts as complete, by arm and number."
    shown = [study for study in studies.values() if _completed(study)]
    if not shown:
        return Plot(name, title, caption, missing="no search trial is complete yet")
    figure = optuna.visualization.plot_optimization_history(shown, target_name=TARGET)
    with _matplotlib() as pictures:
        png = _finish(pictures.plot_optimization_history(shown, target_name=TARGET))
    return Plot(name, title, caption, style_plotly(figure), png)


def importance_plots(studies: Mapping[str, optuna.Study]) -> tuple[Plot, ...]:
    """Draw for each arm how much of the spread of scores each parameter explains."""
    return tuple(_importance_plot(arm, study) for arm, study in studies.items())


def parallel_plots(studies: Mapping[str, optuna.Study]) -> tuple[Plot, ...]:
    """Draw for each arm every complete trial as a line through its parameters."""
    return tuple(_parallel_plot(arm, study) for arm, study in studies.items())


def importances(study: optuna.Study) -> dict[str, dict[str, float]] | str:
    """Compute parameter importances by fANOVA and by mean decrease in impurity (MDI).

    Returns:
        The share of each parameter by method, which sum to 1 for each method; or the reason why
        there are none.
    """
    completed = len(_completed(study))
    if completed < MIN_TRIALS:
        return f"only {completed} of the {MIN_TRIALS} complete trials that it takes"
    parameters = common_parameters(study)
    if not parameters:
        return "no parameter varies in enough complete trials"
    evaluators: dict[str, BaseImportanceEvaluator] = {
        "fANOVA": FanovaImportanceEvaluator(seed=SEED),
        "MDI": MeanDecreaseImpurityImportanceEvaluator(seed=SEED),
    }
    found: dict[str, dict[str, float]] = {}
    for name, evaluator in evaluators.items():
        try:
            found[name] = get_param_importances(study, evaluator=evaluator, params=parameters)
        except (RuntimeError, ValueError) as error:
            return f"Optuna cannot tell importances of these trials ({error})"
    return found


def common_parameters(study: optuna.Study) -> list[str]:
    """Return the parameters that vary and that enough complete trials have together.

    A conditional parameter, such as the learning rate of LayerNorms, is missing from trials that
    tune none of them. Including it excludes those trials, so at least `MOST` of all must remain.
    """
    trials = _completed(study)
    chosen: list[str] = []
    presence = Counter(name for trial in trials for name in trial.params)
    for name in sorted(presence, key=lambda name: (-presence[name], name)):
        kept = [trial for trial in trials if name in trial.params]
        varies = len({trial.params[name] for trial in kept}) > 1
        enough = len(kept) >= max(MIN_TRIALS, MOST * len(_completed(study)))
        if varies and enough:
            chosen.append(name)
            trials = kept
    return chosen


def _importance_plot(arm: str, study: optuna.Study) -> Plot:
    from matplotlib.figure import Figure as Canvas
    from plotly import graph_objects

    name, title = f"importance-{arm}", f"Parameter importance, arm “{arm}”"
    found = importances(study)
    caption = (
        f"Share of the spread of validation scores over {len(_completed(study))} complete trials "
        "that each parameter explains, by two methods; it says nothing of direction. Where they "
        "disagree, neither tells. Parameters that too few trials have are left out."
    )
    if len(_completed(study)) < TRUSTED_TRIALS:
        caption += " With so few trials this is a hint at best."
    if isinstance(found, str):
        return Plot(name, title, caption, missing=found)
    order = sorted(found["fANOVA"], key=lambda parameter: found["fANOVA"][parameter])
    figure = graph_objects.Figure(
        [
            graph_objects.Bar(
                name=method,
                y=order,
                x=[shares.get(parameter, 0.0) for parameter in order],
                orientation="h",
                marker_color=color,
            )
            for (method, shares), color in zip(found.items(), (BLUE, ORANGE), strict=True)
        ]
    )
    figure.update_xaxes(title_text="importance")
    height = 1.4 + 0.35 * len(order)
    canvas = Canvas(figsize=(6.5, height), layout="constrained")
    axis = canvas.subplots()
    for shift, ((method, shares), color) in enumerate(
        zip(found.items(), (BLUE, ORANGE), strict=True)
    ):
        rows = [index + 0.36 * (shift - 0.5) for index in range(len(order))]
        axis.barh(rows, [shares.get(p, 0.0) for p in order], 0.36, color=color, label=method)
    axis.set_yticks(range(len(order)), order)
    axis.set_xlabel("importance")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    figure = style_plotly(figure, height=int(120 + 40 * len(order)))
    return Plot(name, title, caption, figure, png_bytes(canvas))


def _parallel_plot(arm: str, study: optuna.Study) -> Plot:
    name, title = f"parallel-{arm}", f"Parallel coordinates, arm “{arm}”"
    caption = (
        "Each complete trial is a line through its parameters, coloured by its score. “None” marks "
        "a parameter that a trial does not have."
    )
    completed = _completed(study)
    if len(completed) < MIN_TRIALS:
        return Plot(
            name,
            title,
            caption,
            missing=f"only {len(completed)} of the {MIN_TRIALS} complete trials that it takes",
        )
    shared = common_parameters(study)
    if len(shared) > MOST_PARAMETERS:
        found = importances(study)
        shares = {} if isinstance(found, str) else found["fANOVA"]
        shared = sorted(shared, key=lambda p: -shares.get(p, 0.0))[:MOST_PARAMETERS]
        caption += f" The {MOST_PARAMETERS} most important parameters are shown."
    if not shared:
        return Plot(name, title, caption, missing="no parameter varies in enough complete trials")
    options = {"params": shared, "target_name": TARGET}
    figure = optuna.visualization.plot_parallel_coordinate(study, **options)
    with _matplotlib() as pictures:
        axis = pictures.plot_parallel_coordinate(study, **options)
        png = _finish(axis, width=max(7.0, 1.3 * len(shared)))
    # Optuna itself sets black text and pale to dark lines, which need a white background.
    figure = style_plotly(figure).update_layout(paper_bgcolor="white", font_color="black")
    return Plot(name, title, caption, figure, png)


def _completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


@contextmanager
def _matplotlib() -> Iterator[Any]:
    """Yield `optuna.visualization.matplotlib`, without windows, style leaks or warnings."""
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as pictures

    with plt.ioff(), plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield pictures


def _finish(axis: Any, *, width: float = 7.0) -> bytes:
    import matplotlib.pyplot as plt

    figure = axis.figure
    axis.set_title("")
    figure.set_size_inches(width, 4.2)
    figure.tight_layout()
    contents = png_bytes(figure)
    plt.close(figure)
    return contents
