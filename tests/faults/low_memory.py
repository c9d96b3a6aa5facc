"""A tiny study on a machine that Ray takes to be out of memory.

    RAY_memory_usage_threshold=0.001 python tests/faults/low_memory.py STORAGE BACKBONE

Ray then kills each worker as soon as it runs.
"""

import sys
from pathlib import Path

from study.search.driver import ray_session
from tests.faults.test_trials import SEARCH
from tests.real_study import RealStudy

study = RealStudy(
    Path(sys.argv[1]),
    "low",
    Path(sys.argv[2]),
    search={**SEARCH, "trials": 4},
    resources={"max_concurrent": 1, "max_failures": 1},
)
with ray_session() as start:
    start.result()
    study.search()
