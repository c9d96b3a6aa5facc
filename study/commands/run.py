"""The command ``run``: a new study, or a sweep."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from study.commands.arguments import add_check, add_configuration, refuse_without_check
from study.process.ctrl_c import exit_at_ctrl_c

HELP = "run a study; this word may be left out"
DESCRIPTION = """
Search which of CLIP's biases and LayerNorms to tune on a few images, and at
which learning rates."""
EXAMPLES = """
A study runs many trials. Each trial trains one configuration: which parameters
of CLIP are tuned, at which learning rates. Validation images choose the best
configuration; only then it and its rivals are tested on test images.

examples of `clipfit-study run`, where `run` may be left out:
  clipfit-study run
      digits, with the small CLIP that comes with the package; a few minutes
  clipfit-study photos data.root=pets
      your own images: a folder for each class in the folder pets
  clipfit-study photos data.root=pets --check --images --estimate
      look at everything, print the time it would take, and start nothing
  clipfit-study base_to_new name=letters search.trials=60 seed=1
      a configuration by its name, with other values
  clipfit-study paper/few_shot data.root=DATA
      several studies from one file, and their tables
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add a configuration, and ``--check`` with what belongs to it."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add_configuration(parser)
    add_check(parser)


def run(options: Namespace) -> None:
    """Run a new study or a sweep, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    refuse_without_check(options)
    with exit_at_ctrl_c():
        from study.commands.check_document import printed_as_json
        from study.commands.find import find_config_and_overrides
        from study.commands.signals import make_console
        from study.commands.unknown_keys import refuse_unknown_keys
        from study.config.sweep import is_sweep, load_sweep
    options.console = make_console(json=options.json)
    with printed_as_json(options):
        source, overrides = find_config_and_overrides(options.words)
        refuse_unknown_keys(source, overrides)
        with exit_at_ctrl_c():
            from study.commands.configured_study import make_study
            from study.commands.dry_run import check_or_run, dry_run_of_sweep
        if not is_sweep(source):
            study = make_study(source, overrides, options.console)
            check_or_run(study, overrides, options, resume=False)
            return
        members = load_sweep(source, overrides)
        if options.check:
            dry_run_of_sweep(members, options.console)
            return
        with exit_at_ctrl_c():
            from study.commands.run_sweep import run_sweep
        run_sweep(members, options.console)
