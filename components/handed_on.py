"""What KFP hands on to the job of a task instead of giving it to the task's own pod: ``dsl.TaskConfig``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parak8s.errors import InputError

if TYPE_CHECKING:
    from kfp.dsl import TaskConfig

Json = Mapping[str, Any]
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Linux has it
OWN = "KFP_"
"""How variables begin that are about the task's own pod."""


def compute_of(config: TaskConfig | None) -> dict[str, Any]:
    """Return the keys of the section ``compute`` that say the same as the fragments of a pod that KFP hands on.

    Nothing, where nothing is handed on: KFP's local runner does not.

    Raises:
        InputError: A volume or a variable is of a kind that the section does not know.
    """
    if config is None:
        return {}
    return {
        **_resources(config.resources or {}),
        **_variables(config.env or []),
        **_volumes(config.volumes or [], config.volume_mounts or []),
        **({"node_selector": dict(config.node_selector)} if config.node_selector else {}),
        **({"tolerations": [_toleration(each) for each in config.tolerations]} if config.tolerations else {}),
    }


def _resources(given: Json) -> dict[str, Any]:
    amounts = {**(given.get("requests") or {}), **(given.get("limits") or {})}
    found: dict[str, Any] = {}
    for name, amount in amounts.items():
        if name == "cpu":
            found["cpus"] = _cores(str(amount))
        elif name == "memory":
            found["memory"] = str(amount)
        else:
            found |= {"gpu_type": name, "gpus": int(amount)}
    return found


def _cores(amount: str) -> float:
    return float(amount.removesuffix("m")) / 1000 if amount.endswith("m") else float(amount)


def _variables(given: Sequence[Json]) -> dict[str, Any]:
    plain: dict[str, str] = {}
    secrets: dict[str, dict[str, str]] = {}
    for each in given:
        name, source = str(each["name"]), each.get("valueFrom") or {}
        if name.startswith(OWN):
            continue
        if key := source.get("secretKeyRef"):
            secrets.setdefault(key["name"], {})[name] = key["key"]
        elif source:
            kinds = ", ".join(source)
            raise InputError(f"the variable {name} comes from {kinds}: a distributed training takes values and Secrets")
        else:
            plain[name] = str(each.get("value", ""))
    kept = [{"name": name, "env": keys} for name, keys in secrets.items()]
    return ({"env": plain} if plain else {}) | ({"secrets": kept} if kept else {})


def _volumes(volumes: Sequence[Json], mounts: Sequence[Json]) -> dict[str, Any]:
    kinds = {str(each["name"]): each for each in volumes}
    claims: list[dict[str, str]] = []
    found: dict[str, Any] = {}
    for mount in mounts:
        volume, path = kinds.get(str(mount["name"]), {}), str(mount["mountPath"])
        claim, memory = volume.get("persistentVolumeClaim"), volume.get("emptyDir")
        if claim and not mount.get("subPath"):
            claims.append({"claim": claim["claimName"], "path": path})
        elif memory is not None and path == SHARED_MEMORY:
            found["shared_memory"] = memory.get("sizeLimit")
        else:
            what = ", ".join(_kinds(volume, mount)) or "an unknown volume"
            raise InputError(
                f"{path} is mounted from {what}: a distributed training takes whole PersistentVolumeClaims, and memory "
                f"at {SHARED_MEMORY}"
            )
    return found | ({"volumes": claims} if claims else {})


def _kinds(volume: Json, mount: Json) -> Iterator[str]:
    yield from (kind for kind in volume if kind != "name")
    if mount.get("subPath"):
        yield f"its folder {mount['subPath']}"


def _toleration(given: Json) -> dict[str, Any]:
    return {key: given[key] for key in ("key", "operator", "value", "effect") if given.get(key)}
