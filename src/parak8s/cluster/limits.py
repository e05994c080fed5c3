"""What a Kubeflow Pipelines server takes at most. Needs no kfp, so that a compiler can ask too."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from parak8s.errors import InputError

MAX_PARAMETER_BYTES = 10_000
"""All parameters of a run together, as the server counts them; its default."""

_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def parameters_bytes(arguments: Mapping[str, str]) -> int:
    r"""Return how many bytes the server counts for the arguments of a run.

    It counts their compact JSON as Go writes it: in UTF-8, but with ``<``, ``>`` and ``&`` as six bytes each
    (``\u003c``).

    Source: kubeflow/pipelines, backend/src/apiserver/server/api_util.go (``json.Marshal`` of the runtime config's
    parameters, compared with ``util.MaxParameterBytes``).
    """
    text = json.dumps(dict(arguments), ensure_ascii=False, separators=(",", ":"))
    return len(text.translate(_ESCAPED).encode("utf-8", "surrogatepass"))


def refuse_too_large(arguments: Mapping[str, str], files: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raise before anything is sent that the server would refuse.

    Args:
        arguments: Of the run.
        files: Parameter -> file that its value comes from, where that is known.

    Raises:
        InputError: The arguments are over :data:`MAX_PARAMETER_BYTES`.
    """
    size = parameters_bytes(arguments)
    if size <= MAX_PARAMETER_BYTES:
        return
    sizes = {name: parameters_bytes({name: value}) - len('{"":""}') - len(name) for name, value in arguments.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    place = f" ({files[largest]})" if largest in files else ""
    shorter = "comments, values that are the default" + (", points" if "points" in arguments else "")
    raise InputError(
        f"the run's parameters take {size:,} bytes, {sizes[largest]:,} of them {largest}{place}; Kubeflow Pipelines "
        f"takes {MAX_PARAMETER_BYTES:,} at most: leave out {shorter} (a line break counts as two bytes, each <, > and "
        "& as six)"
    )
