"""What a model says about one image."""

from typing import NamedTuple

from study.config.trial_settings import Head


class Prediction(NamedTuple):
    """The class that a model predicts for one image, with one of its heads."""

    head: Head
    """The head that classifies."""
    part: str
    """The name of the evaluated part, such as "accuracy", "base" or a target."""
    path: str
    """The image's path in its dataset."""
    label: str
    """The name of its class."""
    predicted: str
    """The name of the class that the model finds most probable."""
    probability: float
    """The probability that the model gives to that class."""
    right_of_kind: bool | None = None
    """Whether the best of the names of the image's own kind, trained or other, is the true one.

    None where trained names do not compete with others."""
    gap: float | None = None
    """The highest logit among the trained names, minus the highest among the others."""
    true_probability: float | None = None
    """The probability that the model gives to the class of `label`; None for a test image."""
    group: str = ""
    """See `Record.group`."""
