"""No password is shown, written or sent."""

import pytest

from parak8s.secrets import names_secret, redacted, secret_paths, without_passwords


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


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD", "PGPASSWORD", "dbPassword", "passwd", "Passwort", "MYSQL_PWD", "HF_TOKEN", "tokens",
     "githubToken", "GITHUBTOKEN", "api_key", "apiKey", "APIKEY", "AWS_SECRET_ACCESS_KEY",
     "clientSecret", "model.params.api_key"],
)  # fmt: skip
def test_a_name_of_a_secret_is_known_by_its_words(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    ["tokenizer", "TOKENIZERS_PARALLELISM", "tokenizerName", "secretary", "compass", "PASSTHROUGH", "keyboard", "key",
     "AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS"],
)  # fmt: skip
def test_a_name_that_only_looks_like_one_and_a_place_where_one_lies_are_none(name: str) -> None:
    assert not names_secret(name)


def test_the_paths_of_secrets_are_told_and_what_is_blank_already_is_not() -> None:
    values = {
        "compute": {"env": {"DB_PASSWORD": "hunter2", "EMPTY_TOKEN": "", "OLD_TOKEN": "***", "HOME": "/root"}},
        "sources": ["s3://a/b", "s3://k:s@a/b"], "model": {"tokenizer": "word", "tokens": 12},
    }  # fmt: skip
    assert list(secret_paths(values)) == ["compute.env.DB_PASSWORD", "sources.1"]
