"""How MLflow's pages open on an experiment: as model training, with views saved under "Views".

A saved view is a tag of the experiment. A version of MLflow that knows another form of it shows its
plain table instead, and nothing else is lost.
"""

from __future__ import annotations

from study.tracking.mlflow.internals import MODEL_TRAINING, NAME, VIEW, saved_view, view_page

SETTINGS = (
    "metrics.`trainable`",
    "params.`bias_lr`",
    "params.`ln_lr`",
    "params.`distill_weight`",
    "params.`subset`",
)
"""The subset last, since it is the one that a narrow window may cut."""
WIDTH = 90
"""Of a column, in pixels."""
WIDTHS = {NAME: 170, "params.`distill_weight`": 110, "params.`subset`": 560}
"""Of columns that need more."""
GROUP_WIDTH = 320
"""Of the column of names where it holds those of groups."""


def experiment_tags() -> dict[str, str]:
    """Give the tags of a new experiment: its kind, and views that answer the usual questions."""
    return MODEL_TRAINING | {
        f"{VIEW}studies": _saved(
            "Studies",
            search="tags.stage = 'study'",
            order="metrics.`val_score`",
            columns=["metrics.`test_score`", "tags.`dataset`", "tags.`protocol`"],
            models=True,
        ),
        f"{VIEW}trials": _saved(
            "Trials, by validation score",
            search="tags.stage = 'search'",
            order="metrics.`val_score`",
            columns=[*SETTINGS, "metrics.`epochs`", "tags.`arm`", "tags.`study`"],
        ),
        f"{VIEW}confirmed": _saved(
            "Confirmed on test",
            search="tags.stage = 'confirm'",
            order="metrics.`test_score`",
            columns=[*SETTINGS, "params.`seed`", "tags.`study`"],
            group_by=("label", "study"),
        ),
        f"{VIEW}ablation": _saved(
            "Ablation",
            search="tags.stage = 'ablation'",
            order="metrics.`test_score`",
            columns=[*SETTINGS, "params.`seed`", "tags.`study`"],
            group_by=("label", "study"),
        ),
    }


def runs_page(server: str, experiment_id: str, view: str = "studies") -> str:
    """Return the address of an experiment's runs in a view; ``server`` is where MLflow answers."""
    return view_page(server, experiment_id, view)


def _saved(
    name: str,
    *,
    search: str,
    order: str,
    columns: list[str],
    group_by: tuple[str, ...] = (),
    models: bool = False,
) -> str:
    shown = [order, *columns, *(["attributes.`Models`"] if models else [])]
    widths = {column: WIDTHS.get(column, WIDTH) for column in (NAME, *shown)}
    if group_by:
        widths[NAME] = GROUP_WIDTH
    return saved_view(
        name, search=search, order=order, columns=shown, widths=widths, group_by=group_by
    )
