"""The command ``config``: all values of a configuration, a key in words, or the JSON schema."""

from argparse import ArgumentParser, Namespace

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_settings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_settings(
        parser,
        "CONFIG | key=value",
        "a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and values "
        "that override it",
    )
    views = parser.add_mutually_exclusive_group()
    views.add_argument(
        "--explain",
        metavar="KEY",
        help="what a key, such as search.folds, or each key of a section means, what is allowed, "
        "its default, and its value in the configuration",
    )
    views.add_argument(
        "--schema", action="store_true", help="the JSON schema of all configurations, for editors"
    )


def show_config(options: Namespace) -> None:
    """Print a configuration as YAML that `run` reads, a key in words, or the JSON schema.

    Raises:
        ConfigError: the configuration or the key does not exist, or has faults.
    """
    with slow_imports():
        from study.workflow.configuration_views import print_configuration
    print_configuration(options)
