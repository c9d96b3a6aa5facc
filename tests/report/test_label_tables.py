"""What is written and said of labels to check."""

import csv

from study.report.label_tables import describe_check, labels_csv, labels_table
from study.results.label_check import OUT_OF_FOLD, DoubtedLabel, LabelCheck

NAMES = ("=cat", 'a, "dog"')
DOUBTED = [DoubtedLabel(f"={n}.png", *NAMES, n, 24, n / 50, OUT_OF_FOLD) for n in range(12)]


def test_no_path_is_a_formula_and_names_are_as_they_are() -> None:
    header, *rows = csv.reader(labels_csv(DOUBTED).splitlines())
    assert header == ["path", "given", "suggested", "agree", "models", "confidence", "source"]
    assert rows[3] == ["./=3.png", *NAMES, "3", "24", "0.06", OUT_OF_FOLD]
    assert len(rows) == 12
    assert labels_csv([]).count("\n") == 1


def test_a_terminal_gets_the_first_ten() -> None:
    texts = labels_table(DOUBTED).texts
    assert len(texts) == 10
    assert texts[9] == ["=9.png", *NAMES, "9 of 24"]


def test_a_check_says_how_many_images_and_trials_it_had() -> None:
    text = describe_check(LabelCheck(tuple(DOUBTED), frozenset(map(str, range(1500))), 1))
    assert text.startswith("12 of 1,500 labels of training images are doubtful. ")
    assert "those of the 1 finished trial with the best" in text
    assert describe_check(None) == ""
