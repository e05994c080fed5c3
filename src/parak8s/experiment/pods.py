"""The kinds of values that Kubernetes takes for a pod.

Source: kubernetes.io/docs, "Labels and Selectors", "Extended resources", "Resource units"; an image as in
github.com/distribution/reference.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_LABEL, _LABEL_VALUE, _RESOURCE = rf"^({_DOMAIN}/)?{_WORD}$", rf"^({_WORD})?$", rf"^{_DOMAIN}/{_WORD}$"
_IMAGE = (
    rf"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]+)?/)?{_PART}(/{_PART})*"
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_QUANTITY = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"
FORMS = {
    _LABEL: "a label, such as accelerator or cloud.google.com/gke-accelerator",
    _LABEL_VALUE: "the value of a label: at most 63 letters, digits and inner - _ . such as a100",
    _RESOURCE: "a resource with its domain, such as nvidia.com/gpu",
    _IMAGE: "a container image, such as registry.example/team/parak8s:1.0",
    _QUANTITY: "a quantity of memory, such as 8Gi",
}
"""What text that must match a pattern looks like, in words."""

_POWERS = {"k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
LEAST_MEMORY, GREATEST_MEMORY = "1Mi", "1Pi"


def bytes_of(quantity: str) -> Decimal:
    """Return the bytes of a quantity of memory."""
    number = quantity.rstrip("kKMGTPEi")
    unit = quantity.removeprefix(number)
    power = _POWERS.get(unit[:1], 0)
    return Decimal(number) * (Decimal(1024) ** (power // 3) if unit.endswith("i") else Decimal(10) ** power)


def _memory_is_sensible(quantity: str) -> str:
    size = bytes_of(quantity)
    if not bytes_of(LEAST_MEMORY) <= size <= bytes_of(GREATEST_MEMORY):
        fix = "; write a unit, such as 8Gi" if size < bytes_of(LEAST_MEMORY) else ""
        raise ValueError(f"must be from {LEAST_MEMORY} to {GREATEST_MEMORY}, got {quantity!r:.40}{fix}")
    return quantity


Label = Annotated[str, StringConstraints(pattern=_LABEL)]
LabelValue = Annotated[str, StringConstraints(pattern=_LABEL_VALUE)]
Resource = Annotated[str, StringConstraints(pattern=_RESOURCE)]
Image = Annotated[str, StringConstraints(pattern=_IMAGE)]
Quantity = Annotated[str, StringConstraints(pattern=_QUANTITY), AfterValidator(_memory_is_sensible)]
Cpus = Annotated[float, Field(ge=0.001, le=4096, allow_inf_nan=False)]
"""Cores; a thousandth is the least that Kubernetes tells apart."""
