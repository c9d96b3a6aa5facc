"""The studies that tests of results use, for the tests of what is told of them."""

from tests.results.conftest import (
    ablation_study,
    base_to_new_study,
    drawn_study,
    few_shot_study,
    guessing_study,
    make_study,
    predicted,
    told_apart,
    trained_study,
    tuned_study,
    unconfirmed_study,
)

__all__ = [
    "ablation_study",
    "base_to_new_study",
    "drawn_study",
    "few_shot_study",
    "guessing_study",
    "make_study",
    "predicted",
    "told_apart",
    "trained_study",
    "tuned_study",
    "unconfirmed_study",
]
