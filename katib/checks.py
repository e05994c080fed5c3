"""What an Experiment may not hold, said before anything is created."""

import re
from collections.abc import Iterable, Sequence

from parak8s.errors import InputError
from parak8s.experiment import Compute, Experiment, Search
from parak8s.experiment.compute import is_store, lies_in
from parak8s.experiment.dimensions import Dimension
from parak8s.tfjobs.building import replicas_of
from parak8s.tfjobs.checks import MAX_ARGUMENT_BYTES, MAX_NAME

VARIABLE = "PARAK8S_EXPERIMENT"
"""Where a trial finds the text of its experiment: the shell that Katib starts reads no environment variable."""

METRICS = "/var/log/katib"
"""Folder that Katib mounts, and writes the output of a trial to."""

LONGEST_NAME = 40
"""Letters of a search's name, so that those of trials, services and pods still fit."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.,:+/=@%-]")
"""What a shell may read as something else."""
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.[A-Za-z0-9]+\}")


def search_of(experiment: Experiment) -> Search:
    """Return the section ``search``; refuse a file without one."""
    if experiment.search is None:
        raise InputError(
            "there is no section search, so nothing is searched; write search: {objective: {metric: val_auc}, "
            "parameters: {training.optimizer.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}}}"
        )
    return experiment.search


def refuse_name(name: str, experiment: Experiment) -> None:
    """Refuse a name that Katib, or a pod of a trial, cannot have."""
    if not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name):
        raise InputError(
            f"an Experiment cannot be named {name!r}: expected lower-case letters, digits and inner hyphens, a letter "
            "first, such as ecg; change the experiment's name, or give --name"
        )
    longest = _longest_name(experiment)
    if len(name) > longest:
        raise InputError(
            f"the name {name!r} is too long for an Experiment: it has {len(name)} letters, and at most {longest} leave "
            "room for what Katib adds for trials and Kubernetes for their pods; change the experiment's name, or give "
            "--name"
        )


def _longest_name(experiment: Experiment) -> int:
    """Return how many letters leave room for ``NAME-TRIAL-POD``; pbt's names of trials end with 36 letters, not 8."""
    trial = len("-") + (36 if experiment.search and experiment.search.algorithm == "pbt" else 8)
    compute = experiment.compute
    replicas = replicas_of(compute) if compute.distributed else {}
    pod = max((len(f"-{role}-{count - 1}") for role, count in replicas.items()), default=len("-xxxxx"))
    return min(LONGEST_NAME, MAX_NAME - trial - pod)


def refuse_reserved(compute: Compute, folders: Iterable[str]) -> None:
    """Refuse what the trial's template sets, and volumes where Katib mounts its own ``folders``."""
    if VARIABLE in compute.env or any(VARIABLE in secret.env for secret in compute.secrets):
        raise InputError(f"compute.env: {VARIABLE} holds the text of the experiment in each trial; take it out")
    for folder in folders:
        if any(lies_in(volume.path, folder) or lies_in(folder, volume.path) for volume in compute.volumes):
            raise InputError(f"compute.volumes: Katib mounts {folder} into each trial; mount the claim elsewhere")


def refuse_store(compute: Compute) -> None:
    """Refuse trials of several replicas that would share an object store: they share their datasets as files."""
    if compute.runs and is_store(compute.runs):
        raise InputError(
            f"compute.runs: trials of several replicas need a folder on one of compute.volumes, got {compute.runs}; "
            "mount a claim that several nodes may write to (ReadWriteMany)"
        )


def refuse_long_text(text: str) -> None:
    """Refuse an experiment that no program can be given in a variable."""
    size = len(f"{VARIABLE}={text}".encode())
    if size > MAX_ARGUMENT_BYTES:
        raise InputError(
            f"the experiment has {size:,} bytes with all defaults and the name of its variable, above the "
            f"{MAX_ARGUMENT_BYTES:,} that one environment variable may have; leave out what the training does not need"
        )


def refuse_shell(axes: Iterable[Dimension]) -> None:
    """Refuse values that a shell would read as something else: Katib starts a trial by one, and quotes nothing."""
    for axis in axes:
        for choice in axis.choices:
            if found := _UNSAFE.search(choice):
                raise InputError(
                    f"search.parameters.{axis.name}: a trial is started by a shell, which would not take {choice} as "
                    f"it is, for its {found[0]!r}; write values of letters, digits and _ . , : + / = @ % - alone, "
                    "which need no quotes"
                )


def refuse_shell_words(words: Sequence[str]) -> None:
    """Refuse a command of which a shell would make another one."""
    for word in words:
        if _UNSAFE.search(_PLACEHOLDER.sub("", word)):
            raise InputError(
                f"a trial is started by a shell, which would not take {word} as it is; use letters, digits and "
                "_ . , : + / = @ % - in the names of settings"
            )


def refuse_placeholders(text: str) -> None:
    """Refuse an experiment of which Katib would replace a part."""
    if "${trialParameters." in text:
        raise InputError(
            "a value of the experiment holds ${trialParameters. where Katib would put a value of its own; write it in "
            "another way"
        )
