"""The component ``configure``: checks the experiment before anything else runs, and hands each step its part."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def configure(
    experiment: str,
    overrides: str = "",
    code: Input[Artifact] = None,
) -> NamedTuple(
    "Configured",
    [
        ("experiment", str),
        ("fingerprint", str),
        ("digest", str),
        ("ingest", str),
        ("train", str),
        ("calibrate", str),
        ("evaluate", str),
    ],
):
    """Check an experiment, find out which version of the data its source holds, and cut it into the steps' parts.

    All mistakes are reported together, with line, path, value and what is allowed, as by ``parak8s validate``.

    Args:
        experiment: Text of an experiment file (YAML).
        overrides: path=value, separated by spaces: training.epochs=2 "gate.auc=>= 0.9".
        code: Folder with modules of your own, for loaders and builders named as package.module:function.

    Returns:
        experiment: The experiment with overrides and every default written out.
        fingerprint: 16 hexadecimal digits that name the point: config, data and code.
        digest: Version of the data, sha256:...
        ingest: What the step ingest depends on.
        train: What the step train depends on.
        calibrate: What the step calibrate depends on.
        evaluate: What the step evaluate depends on.
    """
    from collections import namedtuple

    from parak8s.components import configuration, runtime

    with runtime.experiment(experiment, code, overrides, name="experiment") as point:
        values = configuration.configured(point)
    return namedtuple("Configured", values)(**values)
