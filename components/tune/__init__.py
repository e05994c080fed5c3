"""The component ``tune``: searches the space of an experiment, and hands on the experiment with the best point."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Markdown, Metrics, Output

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
def tune(
    experiment: str,
    trials: Output[Artifact],
    metrics: Output[Metrics],
    leaderboard: Output[Markdown],
    task_config: dsl.TaskConfig,
    overrides: str = "",
    compute: str = "",
    max_trials: int = 0,
    parallel: int = 0,
    code: Input[Artifact] = None,
) -> NamedTuple("Tuned", [("best", str)]):
    """Search what the section search of an experiment names: by Katib on a cluster, on this machine under kfp.local.

    What the task is given (resources, variables, Secrets, volumes, nodes) goes to every trial. The test split takes no
    part.

    Args:
        experiment: Text of an experiment file (YAML) with a section search.
        task_config: Filled in by KFP.
        overrides: path=value, separated by spaces: training.epochs=2 search.algorithm=tpe.
        compute: Section compute of an experiment file: workers, parameter_servers, runs, image, job.
        max_trials: Trials at most; 0: search.trials.
        parallel: Trials at the same time; 0: search.parallel.
        code: Folder with modules of your own; on a cluster they must be in compute.image.

    Returns:
        trials: Folder with trials.csv, report.html, and best.yaml.
        metrics: The best value, and how many trials there were.
        leaderboard: The best trials.
        best: The experiment with the overrides and the best point, for the input experiment of other tasks.
    """
    from collections import namedtuple
    from pathlib import Path

    from parak8s import files
    from parak8s.components import distribution, runtime, searching
    from parak8s.tracking.placement import refuse_lost_here

    with runtime.experiment(experiment, code, overrides, name="experiment") as point:
        refuse_lost_here(point)  # or it would be found after the search
        wanted = searching.counted(
            distribution.placed(point, compute, task_config), max_trials or None, parallel or None
        )
        folder = Path(trials.path)
        folder.mkdir(parents=True, exist_ok=True)
        found = searching.search(wanted, folder, task=trials.uri, code=code)
        best = searching.best_text(experiment, runtime.split_overrides(overrides), found)
        searching.write_best(folder, best)
    files.write_text(Path(leaderboard.path), searching.page(found, point.name))
    searching.log(metrics, found)
    return namedtuple("Tuned", ["best"])(best)
