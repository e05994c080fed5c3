"""Takes passwords, tokens and signatures out of whatever is shown, written or sent."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_USER = re.compile(r"(\w[\w+.-]*://[^\s:/@\"']*):[^\s\"']*@")
_TOKEN_AS_USER = re.compile(r"(https?://)[^\s:/@\"']+@")
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:passw|secret|token|signature|credential|access_?key|api_?key)[\w.-]*|pwd|sig|key)=)[^&#\s\"']+",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\w[\w+.-]*://")
_ADDRESS_USER = re.compile(r"^(\w[\w+.-]*://[^:/@]*):.*@")
_ADDRESS_QUERY = re.compile(_QUERY.pattern.replace(r"\s\"'", ""), re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = re.compile(
    r"\b(\w*passw\w*|pass(phrase)?|pwd|\w*secret(s|keys?)?|\w*tokens?|credentials?|(api|access|private) ?key\w*)\b"
)
_PLACE = re.compile(r"\b(file|path|dir|directory|folder)$|^google application credentials$")
"""A name of where a secret lies; Google's libraries read a file's path from that variable."""


def redacted(text: str) -> str:
    """Return ``text`` with the passwords, tokens and signatures of the addresses in it replaced by ``***``."""
    return _QUERY.sub(r"\1***", _TOKEN_AS_USER.sub(r"\1***@", _USER.sub(r"\1:***@", text)))


def names_secret(key: str) -> bool:
    """Return whether a key or variable is called after a secret: ``DB_PASSWORD``, ``apiKey``, but not ``tokenizer``."""
    words = " ".join(_WORD.findall(key)).casefold()
    return bool(_SECRET_WORDS.search(words)) and not _PLACE.search(words)


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of each text in plain JSON values that :func:`without_passwords` would change."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            here = f"{path}.{key}" if path else key
            if isinstance(item, str) and names_secret(key):
                yield from [here] if item not in ("", "***") else []
            else:
                yield from secret_paths(item, here)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from secret_paths(item, f"{path}.{place}")
    elif isinstance(value, str) and _without_password(value) != value:
        yield path


def without_passwords(value: Any) -> Any:
    """Return plain JSON values with :func:`redacted` text; text under keys such as ``password`` is replaced whole."""
    if isinstance(value, Mapping):
        return {
            key: "***" if isinstance(item, str) and names_secret(key) else without_passwords(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_passwords(item) for item in value]
    return _without_password(value) if isinstance(value, str) else value


def _without_password(value: str) -> str:
    """Return a value without its secrets; in an address of its own, a password may hold quotes and blanks."""
    if _ADDRESS.match(value):
        value = _ADDRESS_QUERY.sub(r"\1***", _ADDRESS_USER.sub(r"\1:***@", value))
    return redacted(value)
