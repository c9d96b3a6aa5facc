"""What is written and said of labels to check."""

from study.report.label_tables import describe_check, labels_csv, labels_table
from study.results.label_check import DoubtedLabel, LabelCheck

DOUBTED = [DoubtedLabel("=1.png", "=cat", "a dog", 3, 24, 0.06, "out-of-fold")] * 12


def test_no_path_is_a_formula_and_names_are_as_they_are():
    header, *rows = labels_csv(DOUBTED).splitlines()
    assert header == "path,given,suggested,agree,models,confidence,source"
    assert rows == ["./=1.png,=cat,a dog,3,24,0.06,out-of-fold"] * 12


def test_a_terminal_gets_the_first_ten():
    assert labels_table(DOUBTED).texts == [["=1.png", "=cat", "a dog", "3 of 24"]] * 10


def test_a_check_says_how_many_images_and_trials_it_had():
    text = describe_check(LabelCheck(tuple(DOUBTED), frozenset("abc"), 1))
    assert text.startswith("12 of 3 labels of training images are doubtful. ")
    assert "those of the 1 finished trial with the best" in text
    assert describe_check(None) == ""
