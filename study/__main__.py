"""The command ``clipfit-study``, or ``python -m study``; see `study.commands`."""

import sys

from study.ctrl_c import leaving_at_ctrl_c


def main() -> int:
    """Carry out the command of the command line and return its exit code."""
    with leaving_at_ctrl_c():
        from study import commands
    return commands.main()


if __name__ == "__main__":
    sys.exit(main())
