"""The command ``run``: a new study, or a sweep."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from study.process.ctrl_c import exit_at_ctrl_c
from study.process.garbage import pause_collection
from study.workflow.arguments import add_check, add_settings

EXAMPLES = """\
A study runs many trials. Each trial trains one configuration: which parameters
of CLIP are tuned, at which learning rates. Validation images choose the best
configuration; only then it and its rivals are tested on test images.

examples of `clipfit-study run`, where `run` may be left out:
  clipfit-study
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
    """Add the arguments of the command."""
    parser.epilog = EXAMPLES
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = (
        "Search which of CLIP's biases and LayerNorms to tune on a few images, and at\n"
        "which learning rates."
    )
    add_settings(
        parser,
        "CONFIG | key=value",
        "a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and values "
        "that override it",
    )
    add_check(parser)


@pause_collection()
def start_study(options: Namespace) -> None:
    """Run a new study or a sweep, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with exit_at_ctrl_c():
        from study.config.sweep import is_sweep
        from study.workflow.check_document import printed_as_json
        from study.workflow.lookup import find_config_and_overrides
        from study.workflow.unknown_keys import refuse_unknown_keys
    with printed_as_json(options):
        source, overrides = find_config_and_overrides(options.arguments)
        refuse_unknown_keys(source, overrides)
        if is_sweep(source):
            _start_sweep(source, overrides, options)
            return
        with exit_at_ctrl_c():
            from study.workflow.configured_study import make_study
            from study.workflow.dry_run import check_or_run
        study = make_study(source, overrides, options.console)
        check_or_run(study, overrides, options, resume=False)


def _start_sweep(source: Path, overrides: list[str], options: Namespace) -> None:
    with exit_at_ctrl_c():
        from study.config.sweep import load_sweep
        from study.workflow.dry_run import dry_run_of_sweep
        from study.workflow.run_sweep import run_sweep
    members = load_sweep(source, overrides)
    if options.check:
        dry_run_of_sweep(members, options.console)
    else:
        run_sweep(members, options.console)
