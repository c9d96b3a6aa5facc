"""How MLflow's pages show an experiment: as model training, with saved views under "Views".

A saved view is a tag of the experiment. A version of MLflow that expects another form of this tag
shows its plain table instead; nothing else is lost.
"""

from study.config.settings import settings_columns
from study.tracking.mlflow.internals import MODEL_TRAINING, NAME, VIEW, saved_view

_SUBSET, *_NUMBERS = (f"params.`{name}`" for name in settings_columns())
SETTINGS = ("metrics.`trainable`", *_NUMBERS, _SUBSET)
"""The columns of a trial's settings; the subset is last, where a narrow window may cut it."""
WIDTH = 90
"""The width of a column in pixels."""
WIDTHS = {NAME: 170, "params.`distill_weight`": 110, "params.`subset`": 560}
"""The widths of columns that need more, in pixels."""
GROUP_WIDTH = 320
"""The width of the name column in pixels when it shows group names."""


def experiment_tags() -> dict[str, str]:
    """Return the tags of a new experiment: its kind, and saved views for common questions."""
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
