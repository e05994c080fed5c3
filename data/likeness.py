"""Finds images that show the same thing: a perceptual hash proposes pairs, a closer look at small copies decides."""

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Side of the perceptual hash: 256 bits, because chests differ less than photographs do."""
MOST_BITS = 40
"""Different bits up to which two images are looked at closely."""
CLOSE = 32
"""Side of the small copies that are compared."""
LEAST_CORRELATION = 0.985
"""Correlation of the small copies from which on two images count as the same. Of 1,690 chest X-rays two different ones
reach 0.972; a copy that was scaled, saved again as JPEG or made brighter stays above 0.99. A copy that was cropped or
shifted by more than a hundredth of its side escapes."""
BLOCK_ROWS = 256


def near_duplicates(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the group of each image, (n,): the row of the first of all images that are (nearly) the same.

    Pairs are joined to groups, so that the ends of a long chain need not be alike. Time grows with the square of n:
    some three seconds for 6,000 images.

    Args:
        images: uint8 (n, height, width, 1).
    """
    groups = np.arange(len(images))
    hashes, small = _perceptual_hashes(images), _standardized(_averaged(images, CLOSE, CLOSE))
    for start in range(0, len(images), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        different = sum(np.bitwise_count(hashes[rows, None, word] ^ hashes[None, :, word]) for word in range(4))
        first, second = np.nonzero(np.asarray(different) <= MOST_BITS)
        first += start
        first, second = first[second > first], second[second > first]
        same = np.einsum("ij,ij->i", small[first], small[second]) >= LEAST_CORRELATION
        for one, other in zip(first[same].tolist(), second[same].tolist(), strict=True):
            _join(groups, one, other)
    return np.array([_root(groups, row) for row in range(len(groups))], np.int64)


def _perceptual_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a difference hash of 256 bits for each image, (n, 4): does it get brighter from one field to the next."""
    fields = _averaged(images, SIDE, SIDE + 1)
    bits = (fields[:, :, 1:] > fields[:, :, :-1]).reshape(len(images), -1)
    hashes: NDArray[np.uint64] = np.packbits(bits, axis=1).view(np.uint64)
    return hashes


def _averaged(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Return the means of ``height`` by ``width`` fields of each image, (n, height, width)."""
    _, from_height, from_width, _ = images.shape
    down, across = _means(from_height, height).T, _means(from_width, width).T
    parts = []
    for start in range(0, len(images), BLOCK_ROWS):
        block = images[start : start + BLOCK_ROWS].reshape(-1, from_width).astype(np.float32)
        narrow = (block @ across).reshape(-1, from_height, width).swapaxes(1, 2)  # two large products: BLAS likes that
        parts.append((narrow.reshape(-1, from_height) @ down).reshape(-1, width, height).swapaxes(1, 2))
    return np.concatenate(parts)


def _means(length: int, fields: int) -> NDArray[np.float32]:
    """Return the matrix (fields, length) that averages ``length`` samples in ``fields`` equal parts."""
    edges = np.linspace(0, length, fields + 1)
    samples = np.arange(length)
    overlap = np.minimum(samples + 1, edges[1:, None]) - np.maximum(samples, edges[:-1, None])
    return np.asarray(np.clip(overlap, 0, None) * (fields / length), np.float32)


def _standardized(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each copy as a vector of mean 0 and length 1, so that a product of two is their correlation."""
    flat = small.reshape(len(small), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6), np.float32)


def _root(groups: NDArray[np.int64], row: int) -> int:
    while groups[row] != row:
        groups[row] = groups[groups[row]]
        row = int(groups[row])
    return row


def _join(groups: NDArray[np.int64], one: int, other: int) -> None:
    first, second = sorted((_root(groups, one), _root(groups, other)))
    groups[second] = first
