"""Arguments that several commands take."""

from argparse import ArgumentParser


def add_configuration(parser: ArgumentParser) -> None:
    """Add ``words``: a configuration, and values that override it."""
    parser.add_argument(
        "words",
        nargs="*",
        default=[],
        metavar="CONFIG | key=value",
        help="a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and "
        "values that override it",
    )


def add_study(parser: ArgumentParser) -> None:
    """Add ``name``, of a study that exists."""
    parser.add_argument(
        "name", metavar="NAME", help="the name of a study, or the path to its folder"
    )


def add_settings(parser: ArgumentParser) -> None:
    """Add ``settings``, which override values of a study that exists."""
    parser.add_argument(
        "settings",
        nargs="*",
        default=[],
        metavar="key=value",
        help="values to change, such as resources.max_concurrent=1",
    )


def add_model(parser: ArgumentParser) -> None:
    """Add ``model``: a study, a registered model or a file."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the name of a study, or the path to its folder; models:/NAME/VERSION or "
        "models:/NAME@ALIAS in MLflow's registry (at $MLFLOW_TRACKING_URI, else ./mlflow.db); or a "
        "file of tuned parameters (delta.safetensors)",
    )


def add_json(parser: ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON on standard output, and everything else on standard error",
    )
