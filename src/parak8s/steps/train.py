"""Step 2: from a prepared dataset to a classifier that maps raw examples to logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import data, files
from parak8s.data import prepared
from parak8s.errors import InputError, nearest
from parak8s.experiment import Experiment
from parak8s.steps import pretrained
from parak8s.steps.certify import certify
from parak8s.training import determinism

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from parak8s.data.loader import Loader
    from parak8s.training.distribution import Together
    from parak8s.training.fitting import Observer, Outcome


def train(
    experiment: Experiment,
    dataset: Path,
    training: Path,
    observers: Sequence[Observer] = (),
    together: Together | None = None,
    kind: str = "GPU",
    start: Path | None = None,
) -> Outcome:
    """Write ``model.keras`` and ``history.json`` into ``training``; go on from the checkpoints that are there.

    ``training.tensorboard`` adds the folder ``tensorboard``. One of several replicas trains with the others, who begin
    with the same in their folders; the leader writes.

    Args:
        experiment: What to train.
        dataset: Prepared.
        training: Where to; what an interrupted training left there is gone on with.
        observers: Told of every step and epoch.
        together: The other replicas; None for a training on this machine alone.
        kind: Of the devices that ``compute.gpus`` counts; ``CPU`` stands for parts of the processor.
        start: Weights to begin with, as an earlier training of the same model left them; None for new ones.

    Raises:
        InputError: The dataset is not whole, the loss is no longer a number, or pretrained weights do not fit.
        EnvironmentFault: Pretrained weights cannot be fetched, or a replica is lost.
    """
    determinism.prepare(experiment)
    from parak8s.training import distribution
    from parak8s.training.tensorboard import TensorBoard

    leads = together is None or together.team.leads
    whole = prepared.verify(dataset) if leads else None  # may take long: before the replicas meet, once for all
    with distribution.strategy(experiment, dataset, training, together, kind) as (strategy, watching):
        manifest = whole or prepared.read_manifest(dataset)
        boards = [TensorBoard(training)] if experiment.training.tensorboard and leads else []
        told: list[Observer] = [*watching, *boards, *observers]
        outcome, history, model = _fitted(experiment, dataset, manifest, training, told, strategy, start)
    if leads:
        model.save(training / "model.keras")
        files.write_json(training / "history.json", history)
    if together is not None and together.certify:
        certify(experiment, dataset, training, together.team)
    return outcome


def _fitted(
    experiment: Experiment,
    dataset: Path,
    manifest: prepared.Manifest,
    training: Path,
    observers: Sequence[Observer],
    strategy: tf.distribute.Strategy,
    start: Path | None = None,
) -> tuple[Outcome, dict[str, Any], keras.Model]:
    """Return how the training went, what history.json is to say of it, and the model."""
    from parak8s.data.batches import rows_at_once
    from parak8s.models import backbones
    from parak8s.training.fitting import fit

    loader = data.loader(experiment.data.loader, experiment.data.options)
    weights = class_weights(experiment, manifest)
    batch_size, seed = experiment.data.batch_size * experiment.training.scaling.factor, experiment.seed
    batches = loader.batches(dataset, "train", batch_size=batch_size, shuffle=True, seed=seed, class_weights=weights)
    validation = loader.batches(dataset, "validation", batch_size=max(batch_size, rows_at_once(manifest.input_shape)))
    with strategy.scope():
        model = _built(experiment, loader, manifest)
        if start is not None:
            _begin_with(model, start)
        begun_with = {"weights": experiment.model.params.get("weights"), "digest": backbones.weights_digest(model)}
        outcome = fit(model, experiment.training, batches, validation, training, observers)
    history = {
        "epochs": [record.to_json() for record in outcome.records],
        "kept_epoch": outcome.kept_epoch,
        "stopped_early": outcome.stopped_early,
        "parameters": model.count_params(),
        "pretrained": begun_with if begun_with["digest"] else None,
    }
    return outcome, history, model


def _built(experiment: Experiment, loader: Loader, manifest: prepared.Manifest) -> keras.Model:
    """Return the classifier as its builder makes it, computing in the precision of the file."""
    import keras

    from parak8s.models import classifier

    keras.config.set_dtype_policy(experiment.training.precision)
    try:
        with pretrained.at_hand(experiment) as spec:
            return classifier.build(spec, loader, manifest, seed=experiment.seed)
    finally:
        keras.config.set_dtype_policy("float32")


def _begin_with(model: keras.Model, weights: Path) -> None:
    """Give the model the weights of an earlier one.

    Raises:
        InputError: They are of another model.
    """
    try:
        model.load_weights(weights)
    except (ValueError, KeyError, OSError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"{weights}: weights of another model ({said}); search no settings of model.params") from error


def class_weights(experiment: Experiment, manifest: prepared.Manifest) -> list[float] | None:
    """Return the weight of each class in the loss; None where all weigh 1.

    Raises:
        InputError: ``training.class_weight`` names a class that the data does not have.
    """
    wanted, counts = experiment.training.class_weight, manifest.splits["train"]["per_class"]
    if wanted is None:
        return None
    if wanted == "balanced":
        return [sum(counts) / (len(counts) * count) for count in counts]  # ingest left no class empty
    for name in wanted:
        if name not in manifest.classes:
            raise InputError(f"training.class_weight: no class {name!r}; {nearest(name, manifest.classes)}")
    return [wanted.get(name, 1.0) for name in manifest.classes]
