"""The command ``config``: a configuration with all its values, or the JSON schema."""

import shlex
from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_configuration
from study.errors import ConfigError

HELP = "print all values of a configuration, or the JSON schema of configurations"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a configuration and ``--schema``."""
    add_configuration(parser)
    parser.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON schema of all configurations, for editors",
    )


def run(options: Namespace) -> None:
    """Print all values of a configuration as YAML, or the JSON schema.

    Raises:
        ConfigError: the configuration does not exist, or has faults.
    """
    if options.schema:
        if options.words:
            raise ConfigError("--schema covers all configurations and takes no other arguments")
        import json

        from study.config.sweep import json_schema

        print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
        return
    from study.commands.find import find_config_and_overrides
    from study.commands.new_study import with_sites_of_backbone
    from study.config.loading import load_config
    from study.config.reference import list_keys
    from study.config.sweep import is_sweep, load_sweep
    from study.config.yaml_text import commented_yaml

    source, overrides = find_config_and_overrides(options.words)
    if is_sweep(source):
        planned = load_sweep(source, overrides)
        if len(planned) > 1:
            raise ConfigError(
                f"{source} describes {len(planned)} studies; expected one: set each key of its "
                "`sweep` to one value, such as data.dataset=eurosat"
            )
        config = planned[0].config
    else:
        config = load_config(source, overrides)
    values = with_sites_of_backbone(config).model_dump(mode="json")
    command = shlex.join(["clipfit-study", "config", *options.words])
    meanings = {key.name: key.meaning for key in list_keys()}
    print(commented_yaml(values, meanings, command), end="")
