"""Step 1: from the source to a prepared dataset directory."""

from collections.abc import Sequence
from pathlib import Path

from parak8s import data, plugins
from parak8s.data import prepared, splits
from parak8s.data.examples import Examples
from parak8s.data.loader import Loader
from parak8s.data.sources import Source, check_pinned, fetch
from parak8s.errors import InputError, nearest
from parak8s.evaluation.operating_point import require_two
from parak8s.experiment import Experiment
from parak8s.secrets import redacted


def identify(experiment: Experiment) -> tuple[Source, str]:
    """Bring the source to this machine; return it with its digest, ``sha256:...``.

    A source without files (``synthetic://``) is identified by the examples that the loader makes of it.

    Raises:
        InputError: There is no such source, or it is not the version that ``data.digest`` pins.
    """
    source, digest, _ = _identify(experiment)
    return source, digest


def _identify(experiment: Experiment) -> tuple[Source, str, Examples | None]:
    """Return also the examples, where they had to be read."""
    source = _loader(experiment).gather(fetch(experiment.data.source))
    digest, examples = source.digest(), None
    if digest is None:
        examples = _read(experiment, source)
        digest = examples.digest()
    check_pinned(digest, experiment.data.digest, experiment.data.source)
    return source, digest, examples


def ingest(experiment: Experiment, dataset: Path) -> prepared.Manifest:
    """Write the prepared dataset into the empty folder ``dataset``.

    Raises:
        InputError: The data breaks a rule; the message names file, row and column where there is one.
    """
    source, digest, examples = _identify(experiment)
    if examples is None:
        examples = _read(experiment, source)
    _refuse_unknown_classes(experiment, examples.classes)
    if experiment.evaluation.operating_point:
        require_two(examples.classes)
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


def _loader(experiment: Experiment) -> Loader:
    return data.loader(experiment.data.loader, experiment.data.options)


def _read(experiment: Experiment, source: Source) -> Examples:
    name = experiment.data.loader
    examples = plugins.call(name, _loader(experiment).read, source)
    if not isinstance(examples, Examples):
        raise InputError(f"loader {name}: expected parak8s.data.examples.Examples, got {type(examples).__name__}")
    return examples


def _refuse_unknown_classes(experiment: Experiment, classes: Sequence[str]) -> None:
    """Find a misspelled class before anything is trained."""
    weights = experiment.training.class_weight
    named = {f"training.class_weight.{name}": name for name in (weights if isinstance(weights, dict) else ())}
    named |= {f"gate.{metric}": metric.partition("/")[2] for metric in experiment.gate.thresholds() if "/" in metric}
    for path, name in named.items():
        if name not in classes:
            raise InputError(f"{path}: no class {name!r}; {nearest(name, classes)}")
