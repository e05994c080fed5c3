"""The component ``keep_best``: of the networks that a sweep trained, the one that did best on the validation split."""

from typing import List, NamedTuple  # noqa: UP035 - KFP reads the annotations

from kfp import dsl
from kfp.dsl import Artifact, Input, Markdown, Metrics, Model, Output

from parak8s.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def keep_best(
    experiment: str,
    digest: str,
    points: list,
    monitor: str,
    trained: Input[List[Model]],  # noqa: UP006
    training: Output[Model],
    leaderboard: Output[Markdown],
    metrics: Output[Metrics],
    code: Input[Artifact] = None,
) -> NamedTuple(
    "Best", [("experiment", str), ("fingerprint", str), ("digest", str), ("calibrate", str), ("evaluate", str)]
):
    """Rank the points of a sweep by a value of their kept epochs, and hand on the best.

    Args:
        experiment: The whole experiment, from configure.
        digest: From configure.
        points: From points.
        monitor: loss, accuracy, val_loss, val_accuracy, val_auc or val_f1.
        trained: One network for each point, from train.
        code: Folder with modules of your own.

    Returns:
        training: The best one.
        leaderboard: All points, the best first.
        metrics: Values of the best one's kept epoch.
        experiment: The experiment with the best point's overrides.
        fingerprint: Of the best point.
        digest: Version of the data, as it came in.
        calibrate: What the step calibrate depends on at the best point.
        evaluate: What the step evaluate depends on at the best point.
    """
    import shutil
    from collections import namedtuple
    from pathlib import Path

    from parak8s import files
    from parak8s.components import configuration, pictures, ranking, runtime
    from parak8s.parts import parts

    with runtime.experiment(experiment, code) as base:
        ranked = ranking.ranked(points, trained, monitor)
        best = ranked[0]
        with runtime.experiment(experiment, code, best.overrides) as point:
            values = configuration.described(point, digest) | parts(point, digest)
        with files.folder(Path(training.path)) as folder:
            shutil.copytree(best.folder, folder, dirs_exist_ok=True)
    files.write_text(Path(leaderboard.path), ranking.page(base.name, monitor, ranked))
    training.metadata.update(point=best.name, overrides=best.overrides)
    pictures.log_epoch(metrics, best.record)
    chosen = {name: values[name] for name in ("experiment", "fingerprint", "digest", "calibrate", "evaluate")}
    return namedtuple("Best", chosen)(**chosen)
