"""Weights that a network begins with: pinned by their content, and brought to this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from parak8s import models
from parak8s.experiment import Experiment, ModelSpec, documents
from parak8s.models.weights import REGISTERED, check_pinned, digest_of
from parak8s.tracking import versions


def pinned(experiment: Experiment) -> Experiment:
    """Return the experiment with its file of weights pinned by its digest, and with an alias made a version.

    So the fingerprint, the cache and the experiment that a run writes down depend on the weights, not on where they
    are. What Keras publishes is known by its name; nothing is fetched to pin it.

    Raises:
        InputError: There is no such file or version, or it is not the one that ``model.params.weights_digest`` pins.
        EnvironmentFault: The registry cannot be reached.
    """
    spec, weights = experiment.model, experiment.model.params.get("weights")
    takes_pin = "weights_digest" in models.settings_type(spec.builder).model_fields
    if not takes_pin or not isinstance(weights, str) or weights in ("imagenet", "none"):
        return experiment
    if registered(spec):
        weights, digest = versions.locate(weights, experiment.tracking)
    else:
        digest = digest_of(Path(weights))
    check_pinned(digest, spec.params.get("weights_digest"), weights)
    params = spec.params | {"weights": weights, "weights_digest": digest}
    return experiment.model_copy(update={"model": spec.model_copy(update={"params": params})})


def as_begun(experiment: Experiment, written: Path) -> Experiment:
    """Return the experiment with the version for which an alias of its weights stood when its run began.

    A job that is started again goes on with the weights that it began with, wherever the alias points by then.

    Args:
        experiment: As its file has it.
        written: The experiment that the run wrote down when it began; there may be none yet.
    """
    spec = experiment.model
    name, is_alias, _ = str(spec.params.get("weights", "")).partition("@")
    if not (registered(spec) and is_alias and written.is_file()):
        return experiment
    begun = documents.read(written).data["model"]["params"]
    if not str(begun.get("weights", "")).startswith(f"{name}/"):
        return experiment
    params = spec.params | {key: begun[key] for key in ("weights", "weights_digest")}
    return experiment.model_copy(update={"model": spec.model_copy(update={"params": params})})


def registered(spec: ModelSpec) -> bool:
    """Return whether the weights are those of a registered model."""
    return str(spec.params.get("weights", "")).startswith(REGISTERED)


@contextlib.contextmanager
def at_hand(experiment: Experiment) -> Iterator[ModelSpec]:
    """Yield the model with registered weights in a file, which is there for the time of the block.

    Raises:
        InputError: There is no such version, or it holds no Keras model.
        EnvironmentFault: The registry cannot be reached.
    """
    spec = experiment.model
    if not registered(spec):
        yield spec
        return
    with TemporaryDirectory() as folder:
        file = versions.download(spec.params["weights"], experiment.tracking, Path(folder))
        yield spec.model_copy(update={"params": spec.params | {"weights": str(file)}})
