"""The component ``points``: checks the named points of a sweep, and hands them out one by one."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def points(
    experiment: str,
    settings: str,
    points: str,
    base: Output[Artifact],
    monitor: str = "val_loss",
    code: Input[Artifact] = None,
) -> list:
    """Check every point of a sweep before the first one trains.

    Args:
        experiment: The whole experiment, from configure.
        settings: What the step train depends on, from configure.
        points: YAML: a name and the values of each point, such as "small: {model.params.filters: 8}".
        monitor: Value of an epoch by which the best is chosen later.
        code: Folder with modules of your own.

    Returns:
        base: The settings as a file: what all points have in common.
        Output: For each point its name and its overrides as one line.
    """
    from pathlib import Path

    from parak8s import files
    from parak8s.components import ranking, runtime
    from parak8s.sweep import read_points

    files.write_text(Path(base.path), settings)
    with runtime.experiment(experiment, code) as point:
        ranking.refuse_unknown(monitor)
        return [{"name": name, "overrides": line} for name, line in read_points(point, points).items()]
