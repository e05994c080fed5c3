"""How fast true-size chest JPEGs become grey squares: the loader against Keras and against bare decoders.

    python benchmarks/xray_decode.py FOLDER [--size 224] [--repeats 5]

FOLDER holds CLASS/file, or train/CLASS/file and test/CLASS/file. Every round reads all images each way, in turns, so
that all meet the same noise; printed are the medians, and the medians of the rounds' ratios. OpenCV and simplejpeg take
part where they are installed. The last way reads the prepared arrays in shuffled batches, as every epoch of a training
does.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image

from parak8s.data.batches import ArrayDataset
from parak8s.data.examples import Examples
from parak8s.data.prepared import write
from parak8s.data.sources import fetch
from parak8s.data.xray import forms
from parak8s.data.xray.decoding import Decoder, cores, read_all
from parak8s.data.xray.frame import Frame


def pillow(path: Path, size: int) -> Any:
    """Decode one JPEG with Pillow alone."""
    with Image.open(path) as image:
        image.draft("L", (size, size))
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def opencv(path: Path, size: int) -> Any:
    """Decode one JPEG with OpenCV, at the smallest of its four sizes that is large enough."""
    import cv2

    data = np.fromfile(path, np.uint8)
    with Image.open(path) as image:
        enough = min(image.size) // size
    flags = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}
    flag = next((flag for times, flag in flags.items() if enough >= times), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(cv2.imdecode(data, flag), (size, size), interpolation=cv2.INTER_AREA)


def simplejpeg(path: Path, size: int) -> Any:
    """Decode one JPEG with simplejpeg, scaled."""
    from simplejpeg import decode_jpeg

    grey = decode_jpeg(path.read_bytes(), "GRAY", min_height=size, min_width=size, min_factor=1)
    return np.asarray(Image.fromarray(grey[..., 0]).resize((size, size), Image.Resampling.BILINEAR))


def keras_images(folder: Path, size: int) -> Callable[[], int]:
    """Return what reads the JPEGs below ``folder`` once with Keras, and says how many there are."""
    import keras

    def read() -> int:
        return sum(
            len(batch)
            for root in ([each for each in (folder / "train", folder / "test") if each.is_dir()] or [folder])
            for batch in keras.utils.image_dataset_from_directory(
                root,
                labels=None,
                color_mode="grayscale",
                image_size=(size, size),
                crop_to_aspect_ratio=True,
                verbose=False,
            )
        )

    return read


def rates(ways: dict[str, Callable[[], int]], repeats: int) -> dict[str, Any]:
    """Return the images per second of each way in each round, (repeats,); an uncounted round warms up."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, read in ways.items():
            started = time.perf_counter()
            count = read()
            if number:
                measured[name].append(count / (time.perf_counter() - started))
    return {name: np.array(values) for name, values in measured.items()}


def epoch(pixels: Any, directory: Path) -> Callable[[], int]:
    """Return what reads a prepared dataset of ``pixels`` once, in shuffled batches."""
    many = np.concatenate([pixels] * -(-4000 // len(pixels)))
    labels = (np.arange(len(many)) % 2).astype(np.int32)
    examples = Examples(many, labels, ("a", "b"))
    write(directory, examples, {"train": np.arange(len(many))}, digest="", source="", loader="xray", split={})
    batches = ArrayDataset(directory, "train", batch_size=32, shuffle=True)
    return lambda: sum(len(batches[index][0]) for index in range(len(batches)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    listing = forms.read("folder", fetch(str(options.folder)))
    decoder = Decoder(Frame(options.size, "crop"), "depth", "refuse")

    def bare(decode: Callable[[Path, int], Any]) -> Callable[[], int]:
        def read() -> int:
            with ThreadPoolExecutor(cores()) as pool:
                return len(list(pool.map(lambda path: decode(path, options.size), listing.images)))

        return read

    ways = {"loader": lambda: len(read_all(listing, decoder)[0]), "keras": keras_images(options.folder, options.size)}
    ways["pillow"] = bare(pillow)
    ways |= {
        each.__name__: bare(each) for each, name in ((opencv, "cv2"), (simplejpeg, "simplejpeg")) if find_spec(name)
    }
    with tempfile.TemporaryDirectory() as folder:
        ways["prepared"] = epoch(read_all(listing, decoder)[0], Path(folder))
        found = rates(ways, options.repeats)
    for name, values in found.items():
        print(f"{name:12} {np.median(values):8.0f} images/s")
    fastest = max(
        (name for name in found if name not in ("loader", "keras", "prepared")), key=lambda n: np.median(found[n])
    )
    for one, other in (("loader", "keras"), ("loader", fastest), ("prepared", "loader")):
        print(f"{f'{one} / {other}':24} {np.median(found[one] / found[other]):7.2f}")


if __name__ == "__main__":
    main()
