"""The origin of a study: the versions, checkpoint and decoding of images that it began with."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from study.data.images.decode import PREPROCESSING
from study.errors import BackboneError
from study.trial.study import Study

logger = logging.getLogger(__name__)


def study_origin(study: Study, tracker_packages: Sequence[str]) -> dict[str, str | int]:
    """Return what a study is made with: versions and the checkpoint.

    Args:
        study: the study.
        tracker_packages: the packages of its tracker, whose versions are recorded as well.
    """
    origin: dict[str, str | int] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": study.architecture.checkpoint,
        "preprocessing": PREPROCESSING,
        "framing": _framing(study),
    }
    for package in ("ray", "torch", "transformers", "optuna", *tracker_packages, "clipfit-study"):
        origin[f"{package}_version"] = version(package)
    return origin


def compare_with_origin(study: Study) -> None:
    """Warn if images are decoded in another way than when the study began; refuse other weights.

    Raises:
        BackboneError: the weights are not those with which the study began.
    """
    identity = study.folder.read_identity()
    if identity.get("preprocessing", PREPROCESSING) != PREPROCESSING:
        logger.warning(
            "images are decoded otherwise since '%s' began: those of more than 8 bits, with an "
            "orientation tag or with transparency have other pixels now, so that its trials do not "
            "compare; if the dataset has such images, begin a new study",
            study.folder.name,
        )
    framing = _framing(study)
    framing_before = identity.get("framing", framing)
    if framing_before != framing:
        logger.warning(
            "images are brought to their size otherwise since '%s' began, by what the checkpoint "
            "says of it: %s, and %s before; begin a new study, since its trials do not compare",
            study.folder.name,
            framing,
            framing_before,
        )
    checkpoint = study.architecture.checkpoint
    checkpoint_before = identity.get("checkpoint", checkpoint)
    if checkpoint_before != checkpoint:
        raise BackboneError(
            f"the backbone's files have changed since '{study.folder.name}' began, or are damaged: "
            f"its checkpoint was {checkpoint_before} and is {checkpoint}; put the former back"
        )


def _framing(study: Study) -> str:
    """Return how images are brought to their size."""
    framing = study.architecture.framing
    sides = "the shorter side"
    if framing.squash:
        sides = "both sides"
    return f"{sides}, {framing.interpolation}"
