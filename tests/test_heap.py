"""What a training frees stays with its process: counted in pages that the kernel had to hand out."""

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")

PAGES = 8192
STEPS = 10
TAKE_AND_FREE = f"""
import ctypes, resource, sys, threading

if sys.argv[1] == "keep":
    from parak8s.training import heap
    heap.keep()

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages are handed out one by one, not 512 of them as a huge one

def step():
    sizes = [{PAGES} * resource.getpagesize() // parts for parts in (1, 1, 2, 4)]  # a thread's heap: pieces of 64 MiB
    blocks = [library.malloc(size) for size in sizes]
    for block, size in zip(blocks, sizes):
        library.memset(block, 1, size)
    for block in blocks:
        library.free(block)

def steps():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({STEPS}):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

where = threading.Thread(target=steps)
where.start()
where.join()
steps()
"""


def pages_taken_anew(way: str, **variables: str) -> list[int]:
    """Return how many pages STEPS steps take from the kernel after the first one, in a thread and in the main one."""
    return told(TAKE_AND_FREE, way, **variables)


def told(program: str, *arguments: str, **variables: str) -> list[int]:
    """Return the numbers that a Python program prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment |= {"PYTHONPATH": ":".join(path for path in sys.path if path), **variables}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def test_a_step_takes_no_memory_anew_that_the_last_one_freed_in_any_thread() -> None:
    assert all(pages < PAGES / 100 for pages in pages_taken_anew("keep"))


def test_without_it_every_step_takes_its_large_blocks_anew() -> None:
    assert all(pages > STEPS * PAGES / 2 for pages in pages_taken_anew("leave"))


TAKE_AND_GIVE_BACK = f"""
import ctypes, resource
from pathlib import Path
from parak8s.training import heap

heap.keep()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

begun, size = resident(), {PAGES} * resource.getpagesize()
block = library.malloc(size)
library.memset(block, 1, size)
library.free(block)
print(resident() - begun)
heap.give_back()
print(resident() - begun)
"""


def test_what_is_free_is_given_back_when_it_is_asked_for() -> None:
    kept, left = told(TAKE_AND_GIVE_BACK)
    assert kept > PAGES * 0.9
    assert left < PAGES * 0.1


@pytest.mark.parametrize("variable", ["MALLOC_ARENA_MAX=8", "GLIBC_TUNABLES=glibc.malloc.arena_max=8"])
def test_what_somebody_has_set_for_the_process_stays(variable: str) -> None:
    name, _, value = variable.partition("=")
    assert all(pages > STEPS * PAGES / 2 for pages in pages_taken_anew("keep", **{name: value}))
