"""Readers see names, and what a candidate is follows from its label and its settings."""

from study.report.names import candidate_name, joint_name


def test_a_label_of_the_product_has_a_name_and_one_of_the_user_is_its_own():
    for label in ("linear", "clipfit-tuned", "second", "best-of-40"):
        assert candidate_name(label) != label
    for label in ("found-late-1", "mine-of-40"):
        assert candidate_name(label) == label


def test_of_candidates_that_share_a_training_the_ones_that_say_more_are_named():
    tuned = candidate_name("clipfit-tuned")
    assert joint_name(("clipfit-tuned", "second")) == f"{tuned}, also second by validation"
    assert joint_name(("clipfit-tuned", "best", "best-with-delta")) == tuned
    assert joint_name(("best", "best-with-delta")) == candidate_name("best")
