"""The shape of a loader: its fields are the file's ``data.options``, its methods read and preprocess."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from parak8s import plugins

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import tensorflow as tf

    from parak8s.data.batches import ArrayDataset
    from parak8s.data.examples import Examples
    from parak8s.data.sources import Source


class EncodedForm(Protocol):
    """Turns encoded examples into a raw batch, with TensorFlow operations alone: it travels inside the servable."""

    @property
    def name(self) -> str:
        """What the encoded examples are called, such as ``images``."""

    @property
    def array(self) -> str:
        """What a raw batch is called, such as ``pixels``."""

    def __call__(self, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Map a string tensor (batch,) to a raw batch and bool (batch,), whether each could be decoded."""


class Loader(BaseModel, ABC):
    """Reads one kind of data. Subclasses declare their settings as fields; unknown settings are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    def gather(self, source: Source) -> Source:
        """Return the source with every file that :meth:`read` takes: its digest is to name them all.

        Raises:
            InputError: A file of the source lists one that is not there.
        """
        return source

    @abstractmethod
    def read(self, source: Source) -> Examples:
        """Return the examples in ``source``.

        Raises:
            InputError: With the file, the row and the column where there is one.
        """

    def preprocessing(self) -> list[keras.Layer]:
        """Return layers that map a raw batch to what the network sees; they travel inside the model."""
        return []

    def augmentation(self, seed: int) -> list[keras.Layer]:  # noqa: ARG002 - subclasses draw from it
        """Return layers that vary a raw batch while training, and pass it on unchanged otherwise."""
        return []

    def encoded_form(self) -> EncodedForm | None:
        """Return how encoded examples, such as image files, become a raw batch; None where there is no such form."""
        return None

    def batches(self, directory: Path, split: str, **settings: Any) -> ArrayDataset:
        """Return the batches of one split of a prepared dataset; see :class:`parak8s.data.batches.ArrayDataset`."""
        from parak8s.data.batches import ArrayDataset

        return ArrayDataset(directory, split, **settings)


class FunctionLoader(Loader):
    """A loader around a user's ``function(source, *, setting=default) -> Examples``."""

    function: ClassVar[Callable[..., Examples]]

    @classmethod
    def around(cls, function: Callable[..., Examples]) -> type[FunctionLoader]:
        """Return a loader type whose settings are the keyword-only parameters of ``function``."""
        settings = plugins.settings_of(function, base=cls)
        settings.function = staticmethod(function)
        return settings

    def read(self, source: Source) -> Examples:
        """Call the function with the source and the settings."""
        return type(self).function(source, **dict(self))
