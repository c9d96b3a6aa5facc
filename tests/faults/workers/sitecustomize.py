"""Read by every Python process of a test that has this folder on its search path."""

import os

import study.storage.atomic

study.storage.atomic.WAIT_SECONDS = float(os.environ["TEST_WAIT"])
