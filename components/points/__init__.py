"""The component ``points``: checks the named points of a sweep, and hands them out one by one."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from parak8s.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def points(experiment: str, points: str, code: Input[Artifact] = None) -> list:
    """Check every point of a sweep before the first one trains.

    Args:
        experiment: The whole experiment, from configure.
        points: YAML: a name and the values of each point, such as "small: {model.params.filters: 8}".
        code: Folder with modules of your own.

    Returns:
        Output: For each point its name and its overrides as one line.
    """
    from parak8s.components import runtime
    from parak8s.sweep import read_points

    with runtime.experiment(experiment, code) as point:
        return [{"name": name, "overrides": line} for name, line in read_points(point, points).items()]
