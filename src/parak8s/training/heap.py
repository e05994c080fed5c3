"""Keeps the memory that a training step has freed for the next one.

TensorFlow asks the C library for every tensor of every step. The GNU one gives large blocks back to the kernel when
they are freed, sooner or later by where they happen to lie, and the kernel clears each page before it hands it out
again: with images of 224 pixels that was a quarter of a step on a processor.

Source: mallopt(3); glibc 2.36, malloc/malloc.c and malloc/arena.c.
"""

import ctypes
import os

SETTINGS = {
    "M_MMAP_MAX": (-4, 0),  # large blocks lie in the heap, too: a mapping of their own goes when they are freed
    "M_TRIM_THRESHOLD": (-1, -1),  # the heap does not shrink
    "M_ARENA_MAX": (-8, 1),  # one heap: those of further threads consist of pieces that are unmapped when empty
}
"""Number of each in ``malloc.h``, and its value."""


def keep() -> None:
    """Let this process keep what it frees; call before its first thread, which would have a heap of its own.

    Its memory then stays at its peak, until :func:`give_back`. Whoever has set something of the kind (``MALLOC_…``,
    ``GLIBC_TUNABLES``) knows better; other C libraries have nothing to set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.getenv("GLIBC_TUNABLES", ""):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for number, value in SETTINGS.values():
            library.mallopt(number, value)


def give_back() -> None:
    """Give the kernel what is free now: a training is over, and another process is about to need it."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
