"""Cron expressions, checked as the scheduler of Kubeflow Pipelines reads them.

Source: github.com/robfig/cron v1, ``Parse``.
"""

import re

from parak8s.errors import InputError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _WEEKDAYS),
)
"""Name, least and greatest value, and names of the values, of each field."""
_NAMED = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every ([0-9]+(\.[0-9]+)?(h|m|s))+")


def six_fields(cron: str) -> str:
    """Return a cron expression as Kubeflow Pipelines reads it: with seconds first.

    Given five fields, it would read minutes as seconds, hours as minutes, and so on.

    Raises:
        InputError: It has neither five nor six fields, or one of them is out of range.
    """
    fields = cron.split()
    if cron.startswith("@"):
        if " ".join(fields) not in _NAMED and not _EVERY.fullmatch(" ".join(fields)):
            raise InputError(
                f"expected {', '.join(_NAMED)} or @every and a duration, such as @every 90m, got {cron!r:.80}"
            )
        return " ".join(fields)
    if len(fields) not in (5, 6):
        raise InputError(
            "expected five fields as in crontab (minute hour day month weekday), such as '30 2 * * *', six with "
            f"seconds first, or @daily, got {cron!r:.80}"
        )
    fields = fields if len(fields) == 6 else ["0", *fields]
    for field, (name, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _fits(part.casefold(), least, greatest, names):
                words = f" ({names[0]} to {names[-1]})" if names else ""
                raise InputError(
                    f"the {name} must be * or from {least} to {greatest}{words}, a range of them that rises, or either "
                    f"with a step above 0 such as */5, got {part!r:.40} in {cron!r:.80}"
                )
    return " ".join(fields)


def _fits(part: str, least: int, greatest: int, names: tuple[str, ...]) -> bool:
    """Return whether a part such as ``5``, ``1-5``, ``mon-fri``, ``*/15`` or ``?`` lies in the range."""
    found = re.fullmatch(r"(?:[*?]|([0-9]+|[a-z]+)(?:-([0-9]+|[a-z]+))?)(?:/([0-9]+))?", part)
    if not found:
        return False
    first, last, step = found.groups()
    ends = [_number(end, least, names) for end in (first, last) if end is not None]
    return (step is None or int(step) > 0) and ends == sorted(ends) and all(least <= end <= greatest for end in ends)


def _number(word: str, least: int, names: tuple[str, ...]) -> int:
    """Return the value of a number or of a name; -1 for an unknown name."""
    if word.isdigit():
        return int(word)
    return names.index(word) + least if word in names else -1
