"""Errors that a user can fix: one kind each, and no message repeats a password."""

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
        (
            "postgresql://h/db?user=me&password=p&ssl=1",
            "postgresql://h/db?user=me&password=***&ssl=1",
        ),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
    ],
)
def test_passwords_are_taken_out_wherever_they_stand(text: str, clean: str):
    assert redacted_text(text) == clean


@pytest.mark.parametrize("name", ["password", "pwd", "api_key", "apikey", "access_key", "TOKEN"])
def test_a_secret_in_a_query_is_taken_out_by_its_name_and_its_neighbours_stay(name: str):
    clean = redacted_text(f"db://h/x?user=me&{name}=s3cret&ssl=1 'did not answer'")
    assert clean == f"db://h/x?user=me&{name}=***&ssl=1 'did not answer'"


def test_a_message_without_a_url_stays_as_it_is():
    text = "a token of the 3 & more; see http://host/page?view=list"
    assert redacted_text(text) == text


def test_whoever_catches_what_a_user_can_fix_catches_every_kind_of_it():
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and kind.__module__ == errors.__name__
        and kind is not errors.Fault
    }
    assert len(kinds) > 5
    assert all(issubclass(kind, errors.StudyError) for kind in kinds)
    assert all(kind.__doc__ for kind in kinds)
