"""The command ``leaderboard``: test scores of studies, or the best of a tracking server."""

from argparse import Namespace

from study.process.slow_imports import slow_imports


def show_leaderboard(options: Namespace) -> None:
    """Print the leaderboard of studies, or the best configurations of a tracking server.

    Raises:
        StudyError: the options do not go together, or nothing was found.
    """
    with slow_imports():
        from study.workflow.leaderboard_views import print_leaderboard
    print_leaderboard(options)
