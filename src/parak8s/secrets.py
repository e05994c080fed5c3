"""Takes passwords, tokens and signatures out of whatever is shown, written or sent."""

import re
from collections.abc import Mapping
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
_SECRET_KEY = re.compile(r"passw|secret|token|credential|(api|access)_?key", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return ``text`` with the passwords, tokens and signatures of the addresses in it replaced by ``***``."""
    return _QUERY.sub(r"\1***", _TOKEN_AS_USER.sub(r"\1***@", _USER.sub(r"\1:***@", text)))


def without_passwords(value: Any) -> Any:
    """Return plain JSON values with :func:`redacted` text; text under keys such as ``password`` is replaced whole."""
    if isinstance(value, Mapping):
        return {
            key: "***" if isinstance(item, str) and _SECRET_KEY.search(key) else without_passwords(item)
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
