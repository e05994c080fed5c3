"""Step 1: from the source to a prepared dataset directory."""

from pathlib import Path

from parak8s import data
from parak8s.data import prepared, splits
from parak8s.data.examples import Examples
from parak8s.data.sources import Source, check_pinned, fetch
from parak8s.experiment import Experiment
from parak8s.secrets import redacted


def identify(experiment: Experiment) -> tuple[Source, str]:
    """Bring the source to this machine; return it with its digest, ``sha256:...``.

    A source without files (``synthetic://``) is identified by the examples that the loader makes of it.

    Raises:
        InputError: There is no such source, or it is not the version that ``data.digest`` pins.
    """
    source = fetch(experiment.data.source)
    digest = source.digest() or _read(experiment, source).digest()
    check_pinned(digest, experiment.data.digest, experiment.data.source)
    return source, digest


def ingest(experiment: Experiment, dataset: Path) -> prepared.Manifest:
    """Write the prepared dataset into the empty folder ``dataset``.

    Raises:
        InputError: The data breaks a rule; the message names file, row and column where there is one.
    """
    source, digest = identify(experiment)
    examples = _read(experiment, source)
    rows = splits.assign(examples, experiment.data.split)
    return prepared.write(
        dataset,
        examples,
        rows,
        digest=digest,
        source=redacted(experiment.data.source),
        loader=experiment.data.loader,
        split=experiment.data.split.model_dump(mode="json"),
    )


def _read(experiment: Experiment, source: Source) -> Examples:
    return data.loader(experiment.data.loader, experiment.data.options).read(source)
