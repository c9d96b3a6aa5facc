"""The command ``run``: a new study, or a sweep."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from study.commands.arguments import add_configuration
from study.errors import ConfigError

if TYPE_CHECKING:
    from study.commands.check_result import CheckResult
    from study.config.sweep import SweepStudy
    from study.trial.study import Study

HELP = "run a study (the word `run` is optional)"
EXAMPLES = """
examples (the word `run` is optional):
  clipfit-study run
      digits, with the small CLIP that comes with the package; a few minutes
  clipfit-study photos data.root=pets
      your own images: the folder pets has one folder per class
  clipfit-study photos data.root=pets --check --images --estimate
      check everything and estimate the run time; start nothing
  clipfit-study base_to_new name=letters search.trials=60 seed=1
      a configuration by name, with values changed
  clipfit-study paper/few_shot data.root=DATA
      several studies from one file
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add a configuration, and ``--check`` with what belongs to it."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    add_configuration(parser)
    for option, text in (
        ("--check", "check configuration, data, checkpoint and servers; start nothing"),
        ("--images", "with --check: decode all images instead of a sample"),
        (
            "--estimate",
            "with --check: time training steps, and estimate the study's run time and memory",
        ),
        ("--json", "with --check: print the result as JSON"),
    ):
        parser.add_argument(option, action="store_true", help=text)


def run(options: Namespace) -> None:
    """Run a new study or a sweep, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    for option in ("images", "estimate", "json"):
        if getattr(options, option) and not options.check:
            raise ConfigError(f"--{option} is allowed with --check only")
    if options.check:
        from study.commands.check_result import print_check

        print_check(lambda: _check(options), as_json=options.json)
        return
    planned = _read(options)
    if isinstance(planned, list):
        from study.commands.sweep import run_sweep

        run_sweep(planned)
        return
    from study.commands.console import output_console
    from study.commands.execution import run_study

    run_study(planned, output_console(), resume=False)


def _read(options: Namespace) -> "Study | list[SweepStudy]":
    """Return the study that the words name, or the studies of a sweep.

    Faults of the configuration are raised before slower modules are imported.
    """
    from study.commands.find import find_config_and_overrides
    from study.commands.new_study import make_study
    from study.config.sweep import is_sweep, load_sweep

    source, overrides = find_config_and_overrides(options.words)
    if not is_sweep(source):
        return make_study(source, overrides)
    if options.images or options.estimate:
        raise ConfigError(f"--images and --estimate need a single study; {source} is a sweep")
    return load_sweep(source, overrides)


def _check(options: Namespace) -> "CheckResult":
    """Check everything that a new study or a sweep needs, and return what was found.

    Raises:
        StudyError: it cannot start.
    """
    planned = _read(options)
    from study.commands.check import check_study
    from study.commands.check_images import decode_images, find_warnings
    from study.commands.check_result import CheckResult, Fact
    from study.commands.facts import study_facts

    if isinstance(planned, list):
        from study.commands.sweep import check_sweep

        facts = [Fact("studies", str(len(planned)))]
        return CheckResult(warnings=find_warnings(check_sweep(planned)), facts=facts)
    check_study(planned, resuming=False)
    decoded = decode_images(planned, every=options.images)
    measured = None
    if options.estimate:
        # Ray and Optuna take seconds to import, and a check does without them.
        from study.commands.estimate import measure_and_estimate

        measured = measure_and_estimate(planned)
    warnings = [*decoded.warnings, *find_warnings([planned])]
    return CheckResult((), warnings, [*study_facts(planned), *decoded.facts], measured)
