"""The Hugging Face hub, of checkpoints and of datasets: where it is, and whether it answers.

Without a network, its libraries try each file for long, and do not say what can be done.
"""

import os

from study.storage.network import web_silence

ANSWERS_WITHIN = 4.0
"""How many seconds the hub may take to answer."""


def endpoint() -> str:
    """Return the address of the hub, which ``$HF_ENDPOINT`` may replace by that of a mirror."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def hub_silence() -> str | None:
    """Return why the hub cannot be asked; None if it answers."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{variable} is set"
    return web_silence(endpoint(), ANSWERS_WITHIN)
