"""The command ``config``: a configuration with all its values, or the JSON schema."""

import shlex
from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_configuration
from study.errors import ConfigError
from study.process.ctrl_c import exit_at_ctrl_c

TYPE_CHECKING = False  # of typing, whose import takes long
if TYPE_CHECKING:
    from study.config.schema import StudyConfig

HELP = "print a configuration with all its values, or the JSON schema"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a configuration and ``--schema``."""
    add_configuration(parser)
    parser.add_argument(
        "--schema",
        action="store_true",
        help="the JSON schema of all configurations, for editors",
    )


def run(options: Namespace) -> None:
    """Print all values of a configuration as YAML, or the JSON schema.

    Raises:
        ConfigError: the configuration does not exist, or has faults.
    """
    if options.schema:
        if options.words:
            raise ConfigError("--schema is of all configurations; allowed without further words")
        with exit_at_ctrl_c():
            import json

            from study.config.json_schema import json_schema
        print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
        return
    with exit_at_ctrl_c():
        from rich.console import Console

        from study.commands.check_result import print_warnings
        from study.commands.find import find_config_and_overrides
        from study.commands.new_study import resolve_config, with_sites_of_backbone
        from study.config.sweep import is_sweep, load_sweep
    source, overrides = find_config_and_overrides(options.words)
    if is_sweep(source):
        members = load_sweep(source, overrides)
        configs = [with_sites_of_backbone(member.config) for member in members]
    else:
        config, warnings = resolve_config(source, overrides)
        configs = [config]
        print_warnings(warnings, Console(stderr=True))
    if len(configs) > 1:
        raise ConfigError(
            f"{source} stands for {len(configs)} studies; allowed is one: set each key of its "
            "`sweep` to one value, such as data.dataset=eurosat"
        )
    command = shlex.join(["clipfit-study", "config", *options.words])
    print(resolved_yaml(configs[0], command), end="")


def resolved_yaml(config: "StudyConfig", command: str) -> str:
    """Return all values of a configuration as YAML, each with its meaning as a comment.

    Args:
        config: the configuration.
        command: the command that prints it, which is named at the beginning.
    """
    from study.config.reference import list_keys, short_baselines
    from study.config.yaml_text import commented_yaml

    values = config.model_dump(mode="json")
    values["search"]["baselines"] = short_baselines(config)
    return commented_yaml(values, {key.name: key.meaning for key in list_keys()}, command)
