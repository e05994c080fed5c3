"""Model builders by name, and how a builder becomes a model that takes raw examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parak8s import plugins

if TYPE_CHECKING:
    from pydantic import BaseModel

BUILDERS = {
    "deep_cnn": "parak8s.models.deep_cnn:deep_cnn",
    "transfer": "parak8s.models.transfer:transfer",
    "xray_cnn": "parak8s.models.xray_cnn:xray_cnn",
}
"""Registered builders, imported when they are asked for."""
NEEDS = {"transfer": {"normalize": "none"}}
"""What a builder needs of the loader's settings, where the loader has them."""


def settings_type(name: str) -> type[BaseModel]:
    """Return the record of what ``model.params`` may hold for the builder called ``name``.

    Raises:
        InputError: No such builder.
    """
    return plugins.settings_of(plugins.resolve(name, BUILDERS, "builder"))
