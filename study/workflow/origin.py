"""What a study began with, and whether it goes on with the same: versions, checkpoint, images."""

import logging
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from study.data.images.decode import PREPROCESSING
from study.errors import BackboneError
from study.search.ablation_cells import BASE, base_of
from study.trial.study import Study

logger = logging.getLogger(__name__)


def study_origin(study: Study, of_tracker: Sequence[str]) -> dict[str, str | int]:
    """Return what a study is made with: versions, the checkpoint, a base of another study.

    Args:
        study: the study.
        of_tracker: the packages of its tracker, of which the versions are recorded as well.
    """
    ablation = study.config.ablation
    packages = ("ray", "torch", "transformers", "optuna", *of_tracker, "clipfit-study")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "checkpoint": study.architecture().checkpoint,
        "preprocessing": PREPROCESSING,
        "framing": _framing(study),
        **{f"{package}_version": version(package) for package in packages},
        **({BASE: base_of(study, ablation)} if ablation and ablation.base_from else {}),
    }


def compare_with_origin(study: Study) -> None:
    """Warn where images are decoded otherwise than when the study began; refuse other weights.

    Raises:
        BackboneError: the weights are not those with which the study began.
    """
    identity, now = study.folder.read_identity(), study.architecture().checkpoint
    if identity.get("preprocessing", PREPROCESSING) != PREPROCESSING:
        logger.warning(
            "images are decoded otherwise since '%s' began: those of more than 8 bits, with an "
            "orientation tag or with transparency have other pixels now, so that its trials do not "
            "compare; if the dataset has such images, begin a new study",
            study.folder.name,
        )
    framing = _framing(study)
    if (began := identity.get("framing", framing)) != framing:
        logger.warning(
            "images are brought to their size otherwise since '%s' began, by what the checkpoint "
            "says of it: %s, and %s before; begin a new study, since its trials do not compare",
            *(study.folder.name, framing, began),
        )
    if (original := identity.get("checkpoint", now)) != now:
        raise BackboneError(
            f"the backbone's files have changed since '{study.folder.name}' began, or are damaged: "
            f"its checkpoint was {original} and is {now}; put the former back"
        )


def _framing(study: Study) -> str:
    """Return how images are brought to their size."""
    framing = study.architecture().framing
    return f"{'both sides' if framing.squash else 'the shorter side'}, {framing.interpolation}"


def _git_commit() -> str:
    """Return the git commit of the checkout that contains this package, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.check_output(
            command, text=True, stderr=subprocess.DEVNULL, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
