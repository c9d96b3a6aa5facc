"""``python -m study`` does what ``clipfit-study`` does."""

import sys

from study.commands import main

sys.exit(main())
