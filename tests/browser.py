"""What headless chromium makes of a page."""

import shutil
import subprocess
import tempfile

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SECONDS = 90
"""A page may take on a busy machine."""


def render(address: str, *, width: int = 1600, dark: bool = False, budget: int = 5_000) -> str:
    """Return a page's elements after its scripts have had a budget of milliseconds."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={width},1000", f"--user-data-dir={profile}"),
            f"--blink-settings=preferredColorScheme={1 - dark:d}",
            *(f"--virtual-time-budget={budget}", "--dump-dom", address),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout
