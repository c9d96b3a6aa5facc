"""Errors that a user can fix: one kind each, and no message repeats a password."""

import inspect

import pytest

from study import errors
from study.errors import redacted_text


@pytest.mark.parametrize(
    "text, clean",
    [
        ("http://u:p@h:5/x", "http://***@h:5/x"),
        ("(postgresql://u:p@h/db) 'mysql://u:p@h'", "(postgresql://***@h/db) 'mysql://***@h'"),
        ("http://u:p/q@h", "http://***@h"),
        ("http://h/x mail me@h", "http://h/x mail me@h"),
        ("http://me:it's@h", "http://***@h"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("a token of 3 & more; http://h/p?view=list", "a token of 3 & more; http://h/p?view=list"),
    ],
)
def test_passwords_are_taken_out_wherever_they_stand(text: str, clean: str):
    assert redacted_text(text) == clean


@pytest.mark.parametrize("name", ["password", "pwd", "api_key", "apikey", "access_key", "TOKEN"])
def test_a_secret_in_a_query_is_taken_out_by_its_name_and_its_neighbours_stay(name: str):
    clean = redacted_text(f"db://h/x?user=me&{name}=s3cret&ssl=1 'did not answer'")
    assert clean == f"db://h/x?user=me&{name}=***&ssl=1 'did not answer'"


def test_whoever_catches_what_a_user_can_fix_catches_every_kind_of_it():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    kinds = [kind for kind in classes if issubclass(kind, Exception)]
    assert len(kinds) > 5
    assert all(issubclass(kind, errors.StudyError) for kind in kinds)
