"""How MLflow's pages show an experiment: as model training, with saved views under "Views".

A saved view is a tag of the experiment. A version of MLflow that expects another form of this tag
shows its plain table instead; nothing else is lost.
"""

from study.config.settings import settings_columns
from study.tracking.mlflow.internals import MODEL_TRAINING, VIEW, saved_view

_SUBSET, *_NUMBERS = (f"params.`{name}`" for name in settings_columns())
SETTINGS = ("metrics.`trainable`", *_NUMBERS, _SUBSET)
"""The columns of a trial's settings; the subset is last, where a narrow window may cut it."""


def experiment_tags() -> dict[str, str]:
    """Return the tags of a new experiment: its kind, and saved views for common questions."""
    return MODEL_TRAINING | {
        f"{VIEW}studies": saved_view(
            "Studies",
            search="tags.stage = 'study'",
            order="metrics.`val_score`",
            columns=[
                *("metrics.`test_score`", "tags.`dataset`", "tags.`protocol`"),
                "attributes.`Models`",
            ],
        ),
        f"{VIEW}trials": saved_view(
            "Trials, by validation score",
            search="tags.stage = 'search'",
            order="metrics.`val_score`",
            columns=[*SETTINGS, "metrics.`epochs`", "tags.`arm`", "tags.`study`"],
        ),
        f"{VIEW}confirmed": saved_view(
            "Confirmed on test",
            search="tags.stage = 'confirm'",
            order="metrics.`test_score`",
            columns=[*SETTINGS, "params.`seed`", "tags.`study`"],
            group_by=("label", "study"),
        ),
        f"{VIEW}ablation": saved_view(
            "Ablation",
            search="tags.stage = 'ablation'",
            order="metrics.`test_score`",
            columns=[*SETTINGS, "params.`seed`", "tags.`study`"],
            group_by=("label", "study"),
        ),
    }
