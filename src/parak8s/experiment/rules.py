"""The kinds of values that an experiment file holds, and what a section of it is."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

FORMS = {
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "lower-case letters, digits and inner hyphens, such as ecg-deep-cnn",
    r"^sha256:[0-9a-f]{64}$": "sha256: and 64 hexadecimal digits",
    r"^\s*(>=|<=|>|<)\s*([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$": "a threshold in quotes, such as '>= 0.95'",
    r"^/.*$": "an absolute path, such as /mnt/data",
    r"^(/.*|(s3|s3a|gs|gcs|abfs|az)://[^/:@\s]+(@[^/:@\s]+)?(/.*)?)$": "an absolute path or an object store, such as "
    "/mnt/runs or s3://bucket/runs (also gs://, abfs://)",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "a name of an environment variable, such as AWS_ACCESS_KEY_ID",
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$": "a moment, such as 2026-12-01T00:00:00Z",
}
"""What text that must match a pattern looks like, in words."""
_NAME, _DIGEST, _THRESHOLD, _PATH, PLACE, _VARIABLE, _MOMENT = FORMS

Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=63)]
Text = Annotated[str, StringConstraints(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, StringConstraints(pattern=_DIGEST)]
AbsolutePath = Annotated[str, StringConstraints(pattern=_PATH)]
Place = Annotated[str, StringConstraints(pattern=PLACE)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE)]
Count = Annotated[int, Field(ge=1)]
Monitor = Literal["loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_f1"]
"""Values of every epoch."""


def _threshold_is_text(value: Any) -> Any:
    """Say what to write for ``auc: 0.95``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"expected a threshold in quotes, such as '>= {value}', got {value}")
    return value


Threshold = Annotated[str, StringConstraints(pattern=_THRESHOLD), BeforeValidator(_threshold_is_text)]


def _moment_is_one(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"no such moment: {error}, got {text!r}; write one such as 2026-12-01T00:00:00Z") from None
    return text


Moment = Annotated[str, StringConstraints(pattern=_MOMENT), AfterValidator(_moment_is_one)]


class RuleError(ValueError):
    """A value that does not go with another one.

    Args:
        key: Dotted path of the value in the section that checks the rule.
        message: The rule, the value and the fix.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Section(BaseModel):
    """A part of the file: unknown keys and silent conversions are refused, nothing changes after reading.

    A whole number stands for a number too (``1`` for ``1.0``), but not the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
