"""The command ``config``: all values of a configuration, a key in words, or the JSON schema."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def show_config(options: Namespace) -> None:
    """Print a configuration as YAML that `run` reads, a key in words, or the JSON schema.

    Raises:
        ConfigError: the configuration or the key does not exist, or has faults.
    """
    with slow_imports():
        from study.workflow.configuration_views import print_configuration
    print_configuration(options)
