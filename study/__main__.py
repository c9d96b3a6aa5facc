"""The command ``clipfit-study``, or ``python -m study``; see `study.commands.main`."""

import sys

from study.run import main

if __name__ == "__main__":
    sys.exit(main())
