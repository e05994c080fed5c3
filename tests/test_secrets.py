"""No password is shown, written or sent."""

import pytest

from parak8s.secrets import redacted, without_passwords


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql+psycopg2://bob:pw@host/db", "postgresql+psycopg2://bob:***@host/db"),
        ("postgresql+psycopg2://u:s3cr3t'pw@h/x", "postgresql+psycopg2://u:***@h/x"),
        ("postgresql+psycopg2://u:p w@h/x", "postgresql+psycopg2://u:***@h/x"),
        ("s3://bucket/key?sig=abc'def&x=1", "s3://bucket/key?sig=***&x=1"),
        ("https://token@host/path", "https://***@host/path"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("just text: with a colon @ sign", "just text: with a colon @ sign"),
    ],
)
def test_an_address_loses_its_secret_and_nothing_else(given: str, expected: str) -> None:
    assert without_passwords({"uri": given}) == {"uri": expected}


def test_secrets_in_the_middle_of_a_sentence_are_taken_out() -> None:
    assert redacted("cannot reach http://bob:pw@h:5000/x today") == "cannot reach http://bob:***@h:5000/x today"
