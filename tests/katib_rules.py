"""Katib's rules for printed metrics, said again as its Go code has them, for comparison with ours.

Source: kubeflow/katib, pkg/metricscollector/v1beta1, file-metricscollector.go (parseLogsInTextFormat)
and common/const.go (DefaultFilter). Written from those rules and not from parak8s.katib.local.collector.
"""

import re
from collections.abc import Sequence

GO_DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"


def observation_log(lines: Sequence[str], metrics: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (timestamp or nothing, name, value) of each metric that Katib would report."""
    found = []
    for line in lines:
        if not [name for name in metrics if name in line]:
            continue
        words = line.split(" ", 1)
        stamp = words[0] if len(words) == 2 and _is_rfc3339(words[0]) else ""
        for name, value, *_ in re.findall(GO_DEFAULT_FILTER, line, flags=re.ASCII):
            if name.strip() in metrics:
                found.append((stamp, name.strip(), value.strip()))
    return found


def parses_in_go(value: str) -> bool:
    """Return whether strconv.ParseFloat takes a text of the filter's form: some digit before an exponent."""
    mantissa = re.split("[eE]", value)[0]
    return any(letter.isdigit() for letter in mantissa)


def _is_rfc3339(word: str) -> bool:
    return bool(re.match(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$", word))
