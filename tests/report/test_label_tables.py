"""What is written and said of labels to check."""

from study.report.label_tables import describe_check, labels_csv
from study.results.label_check import LabelCheck, MislabelledImage

DOUBTED = (MislabelledImage("=1.png", "=cat", "a dog", 0.06),)


def test_no_path_is_a_formula_and_names_are_as_they_are():
    header, row = labels_csv(DOUBTED).splitlines()
    assert header == "path,given,suggested,confidence"
    assert row == "./=1.png,=cat,a dog,0.06"


def test_a_check_says_how_many_images_it_had_and_how_right_its_models_are():
    text = describe_check(LabelCheck(DOUBTED, 40, 0.925))
    assert text.startswith("1 of 40 labels of training images are likely wrong. ")
    assert "92.5 % of these labels" in text
    assert describe_check(None) == ""
