"""What to try next: each algorithm of Katib, as a function of what was tried before."""

from __future__ import annotations

from parak8s.errors import InputError, nearest
from parak8s.katib.local.suggestions.algorithm import Algorithm, Problem

ALGORITHMS = (
    "random",
    "grid",
    "sobol",
    "tpe",
    "multivariate-tpe",
    "cmaes",
    "bayesianoptimization",
    "hyperband",
    "pbt",
)
"""Those that :func:`make` knows, under Katib's names."""

__all__ = ["ALGORITHMS", "make"]


def make(algorithm_name: str, problem: Problem) -> Algorithm:
    """Return a search of a problem. Only the libraries that this algorithm needs are imported.

    Raises:
        InputError: There is no such algorithm, it has no such setting, or it cannot search such a space.
    """
    match algorithm_name:
        case "random":
            from parak8s.katib.local.suggestions.random_search import Random

            return Random(problem)
        case "grid":
            from parak8s.katib.local.suggestions.grid import Grid

            return Grid(problem)
        case "sobol":
            from parak8s.katib.local.suggestions.sobol import Sobol

            return Sobol(problem)
        case "tpe" | "multivariate-tpe":
            from parak8s.katib.local.suggestions.tpe import Tpe

            return Tpe(problem, multivariate=algorithm_name == "multivariate-tpe")
        case "cmaes":
            from parak8s.katib.local.suggestions.cma_es import CmaEs

            return CmaEs(problem)
        case "bayesianoptimization":
            from parak8s.katib.local.suggestions.bayesian import Bayesian

            return Bayesian(problem)
        case "hyperband":
            from parak8s.katib.local.suggestions.hyperband import Hyperband

            return Hyperband(problem)
        case "pbt":
            from parak8s.katib.local.suggestions.pbt import Pbt

            return Pbt(problem)
    raise InputError(f"unknown algorithm {algorithm_name!r}; {nearest(algorithm_name, ALGORITHMS)}")
