"""From an experiment file to a pipeline specification (KFP IR YAML, schema 2.1.0)."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parak8s import files, provenance
from parak8s.cluster.limits import refuse_too_large
from parak8s.errors import InputError
from parak8s.experiment import Experiment, documents, space
from parak8s.loading import parse
from parak8s.secrets import redacted, secret_paths
from parak8s.sweep import read_points

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

MAX_SPEC_BYTES = 1_500_000
"""The pipeline becomes one Kubernetes object: etcd takes 1.5 MB."""


@dataclass(frozen=True)
class Request:
    """An experiment that shall become a pipeline.

    Args:
        experiment: Checked, with the overrides.
        text: The file as it was written, which the run form shows.
        overrides: ``path=value`` each.
        points: YAML with named points; None for the experiment itself.
        parallelism: Points that train at the same time.
        tune: Search first, and go on with the best point.
    """

    experiment: Experiment
    text: str
    overrides: tuple[str, ...] = ()
    points: str | None = None
    parallelism: int = 4
    tune: bool = False

    @classmethod
    def read(
        cls,
        file: Path,
        overrides: Sequence[str] = (),
        points: Path | None = None,
        parallelism: int = 4,
        *,
        tune: bool = False,
    ) -> Request:
        """Return the request for an experiment file, for the points in another file, or for its section ``search``.

        Raises:
            InputError: A file breaks a rule, holds a password, or a point does; or there is nothing to search.
        """
        if tune and points is not None:
            raise InputError("--tune and --points: a search makes its own points; give one of both")
        text = documents.read_text(file)
        experiment = parse(text, str(file), overrides)
        if tune and experiment.search is None:
            raise InputError(f"{file}: has no section search; --tune needs one: an objective, and parameters")
        named = documents.read_text(points) if points else None
        if named is not None:
            read_points(experiment, named, str(points))
        request = cls(experiment, text, tuple(overrides), named, parallelism, tune)
        request.refuse_passwords(file, points)
        request.refuse_length(file, points)
        return request

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        kind = "-sweep" if self.points else "-tune" if self.tune else ""
        return f"{self.experiment.name}{kind}"

    @property
    def monitor(self) -> str:
        """Value of an epoch by which the best point is chosen: the search's objective, else val_loss."""
        search = self.experiment.search
        return search.objective.metric if search else "val_loss"

    @property
    def arguments(self) -> dict[str, str]:
        """The parameters of a run."""
        swept = {"points": self.points, "monitor": self.monitor} if self.points else {}
        return {"experiment": self.text, "overrides": shlex.join(self.overrides), **swept}

    def refuse_passwords(self, file: Path, points: Path | None = None) -> None:
        """Refuse what everybody who sees the run, or its directory, would read."""
        parts = [(f"{file}:", self.text, documents.parse(self.text, str(file)).data)]
        parts += [("-s", given, space.override({}, [space.parse_override(given)])) for given in self.overrides]
        parts += [(f"{points}:", self.points, documents.parse(self.points, str(points)).data)] if self.points else []
        for origin, text, values in parts:
            paths = [path for path in secret_paths(values) if not path.startswith("compute.secrets.")]
            lines = [f"line {number}" for number, line in enumerate(text.splitlines(), 1) if redacted(line) != line]
            if paths or lines:
                raise InputError(
                    f"{origin} {[*paths, *lines][0]} holds a password or a token, and a pipeline shows and keeps its "
                    "values as they are written: keep it in a Kubernetes Secret, and name that in compute.secrets; on "
                    "a laptop, set an environment variable"
                )

    def refuse_length(self, file: Path, points: Path | None = None) -> None:
        """Refuse what the KFP server would."""
        refuse_too_large(self.arguments, {"experiment": str(file), "points": str(points)})


def graph(request: Request, folder: Path) -> BaseComponent:
    """Return the pipeline; the components with the user's own code are written into the empty ``folder``."""
    from parak8s.pipelines.graph import experiment_pipeline, search_pipeline, sweep_pipeline
    from parak8s.pipelines.own_code import carriers_of

    experiment = request.experiment
    own_code = carriers_of(experiment, folder)
    given = (request.name, request.text, shlex.join(request.overrides))
    if request.points is None:
        make = search_pipeline if request.tune else experiment_pipeline
        return make(*given, experiment.compute, own_code)
    return sweep_pipeline(
        *given, request.points, experiment.compute, own_code, monitor=request.monitor, parallelism=request.parallelism
    )


def _refuse_unrunnable(request: Request) -> None:
    """Refuse what no cluster could run: replicas that share no folder, trials that cannot be made."""
    from parak8s.tfjobs import building, checks

    compute = request.experiment.compute
    if compute.distributed:
        directory = checks.default_directory(compute, request.experiment.name)
        checks.refuse_unshared(compute, directory, sum(building.replicas_of(compute).values()))
    if request.tune:  # what Katib or the trials would refuse is better known before
        from parak8s.katib.building import katib_experiment

        katib_experiment(request.experiment)


def documents_for(request: Request) -> list[dict[str, Any]]:
    """Return the specification, and that of its platform where it has one. The same request gives the same.

    Raises:
        InputError: The pipeline is larger than a cluster takes.
    """
    from parak8s.components import spec

    with tempfile.TemporaryDirectory() as folder:
        found = spec.documents_of(graph(request, Path(folder)))
    size = len(spec.dumped(found).encode())
    if size > MAX_SPEC_BYTES:
        raise InputError(
            f"the pipeline {request.name} has {size:,} bytes, above the {MAX_SPEC_BYTES:,} that a cluster takes; build "
            "an image with your own modules and name it in compute.image"
        )
    return found


def compiled(request: Request) -> str:
    """Return the pipeline as the YAML text that the dashboard, ``kfp`` and :func:`parak8s.cluster.submit` take."""
    from parak8s.components import spec

    comment = f"The pipeline {request.name}, made from its experiment file by: parak8s compile"
    return spec.dumped(documents_for(request), comment)


def manifests(request: Request, namespace: str | None = None) -> str:
    """Return Pipeline and PipelineVersion as Kubernetes objects (``pipelines.kubeflow.org/v2beta1``), for GitOps.

    The version is named by its content: the same file applied twice changes nothing, another one adds a version.
    """
    from parak8s.components import spec

    _refuse_unrunnable(request)
    pipeline_spec, *platform_spec = documents_for(request)
    version = f"{request.name}-{provenance.digest([pipeline_spec, platform_spec])[:12]}"
    place = {"namespace": namespace} if namespace else {}
    head = {"displayName": request.name, "description": pipeline_spec["pipelineInfo"]["description"]}
    pipeline = _manifest("Pipeline", {"name": request.name, **place}, head)
    body = {"pipelineName": request.name, "pipelineSpec": pipeline_spec}
    body |= {"platformSpec": platform_spec[0]} if platform_spec else {}
    return spec.dumped([pipeline, _manifest("PipelineVersion", {"name": version, **place}, {**head, **body})])


def _manifest(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": kind, "metadata": metadata, "spec": spec}


def write(request: Request, path: Path) -> int:
    """Write the specification for a cluster to ``path``, whole or not at all; return its size in bytes.

    Raises:
        InputError: ``path`` is a folder, the pipeline is larger than a cluster takes, or replicas share no volume.
    """
    _refuse_unrunnable(request)
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a file in it, such as {path / request.name}.yaml")
    text = compiled(request)
    files.write_text(path, text)
    return len(text.encode())
