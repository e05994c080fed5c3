"""How long the laptop's Katib thinks about the next trial, after thousands of trials.

Run ``.venv/bin/python benchmarks/suggestions.py [TRIALS]``.
"""

from __future__ import annotations

import sys
import time

from parak8s.experiment.dimensions import Dimension
from parak8s.katib.local.suggestions import make
from parak8s.katib.local.suggestions.algorithm import Past, Problem, Suggestion

SPACE = tuple(Dimension(f"x{axis}", "double", 0.001, 1.0) for axis in range(6))
MODELS = ("tpe", "multivariate-tpe", "cmaes")
ROUNDS = 3


def past(trials: int) -> list[Past]:
    """Random points, with what each of the models would have noted down."""
    draws, found = make("random", Problem(SPACE, False, {}, seed=0)), []
    for number in range(trials):
        point = draws.suggest(number, [])
        assert isinstance(point, Suggestion)
        values = {name: float(text) for name, text in point.assignments.items()}
        memory = {"params": values, "generation": number // 9}
        found.append(Past(number, f"t{number}", point.assignments, "Succeeded", sum(values.values()), memory))
    return found


def main(trials: int) -> None:
    """Print the best of some rounds: the search built anew, and its next suggestion."""
    before = past(trials)
    for name in MODELS:
        make(name, Problem(SPACE, False, {}, seed=0)).suggest(0, [])  # imports
        for parallel in (1, 4):
            shown = before[: trials - 2 * parallel + 2]
            shown += [
                Past(each.number, each.name, each.assignments, "Running", None, each.memory)
                for each in before[len(shown) :]
            ]
            anew_s, next_s = [], []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                algorithm = make(name, Problem(SPACE, False, {}, seed=0, parallel=parallel))
                found = algorithm.suggest(trials, shown)
                anew_s.append(time.perf_counter() - start)
                assert found is not None
                last = Past(trials, "t", found.assignments, "Running", None, found.memory)
                start = time.perf_counter()
                algorithm.suggest(trials + 1, [*shown, last])
                next_s.append(time.perf_counter() - start)
            print(f"{name:16} parallel {parallel}: anew {min(anew_s):.3f} s, next {min(next_s):.3f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
