"""The component ``distributed_train``: as ``train``, on many workers."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from parak8s.image import IMAGE


@dsl.component(
    base_image=IMAGE,
    install_kfp_package=False,
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
        dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.KUBERNETES_VOLUMES, apply_to_task=True),
    ],
)
def distributed_train(
    dataset: Input[Dataset],
    training: Output[Model],
    metrics: Output[Metrics],
    task_config: dsl.TaskConfig,
    settings: str = "",
    compute: str = "",
    base: Input[Artifact] = None,
    overrides: str = "",
    code: Input[Artifact] = None,
):
    """Train the network of an experiment on many workers: a TFJob on a cluster, processes under kfp.local.

    What the task is given (resources, variables, Secrets, volumes, nodes) goes to every replica of the job.

    Args:
        dataset: From ingest.
        task_config: Filled in by KFP.
        settings: The part of the experiment from configure, or a whole experiment file.
        compute: Section compute of an experiment file: workers, parameter_servers, runs, image, job.
        base: File with the same, instead of settings; a sweep gives it to all of its points.
        overrides: path=value, separated by spaces; a sweep gives each of its points here.
        code: Folder with modules of your own.

    Returns:
        training: Folder with model.keras (raw batch -> logits), history.json and environment.json.
        metrics: Values of the epoch whose weights were kept.
    """
    from pathlib import Path

    from parak8s import files, provenance
    from parak8s.components import distribution, pictures, runtime

    settings = Path(base.path).read_text(encoding="utf-8") if base else settings
    with runtime.experiment(settings, code, overrides) as point, files.folder(Path(training.path)) as folder:
        point = distribution.placed(point, compute, task_config)
        record = distribution.train(point, Path(dataset.path), folder, task=training.uri, code=code)
        files.write_json(folder / "environment.json", provenance.environment(point))
    training.metadata["overrides"] = overrides
    pictures.log_epoch(metrics, record)
