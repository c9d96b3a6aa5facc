"""``python -m study`` does what ``python study/run.py`` does."""

import sys

from study.run import main

sys.exit(main())
