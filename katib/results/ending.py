"""How a search ended, in plain words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from parak8s.katib.results.leaders import STATES, number
from parak8s.katib.results.records import Search
from parak8s.report.words import count


@dataclass(frozen=True)
class Ending:
    """What became of a search.

    Args:
        kind: ``passed``, ``refused`` or ``none``: the colour of the badge.
        badge: Two or three words.
        sentence: The same for those who do not know Katib.
    """

    kind: str
    badge: str
    sentence: str


def ending(search: Search) -> Ending:
    """Return how the search ended, from Katib's words; those themselves where they are not known."""
    said, better = search.status.lower(), "more" if search.maximize else "less"
    tried = count(len(search.trials), "trial")
    if "goal" in said and search.goal is not None:
        return Ending(
            "passed", "Goal reached", f"A trial reached the goal, {search.objective} of {search.goal:g} or {better}."
        )
    if "fail" in said and "suggestion" in said:
        return Ending("refused", "Failed", search.status)
    if "fail" in said:
        return Ending("refused", "Gave up", f"Too many trials failed; the search gave up after {tried}.")
    if "max trial count" in said:
        return Ending("none", "Finished", f"All {tried} that were asked for have been tried{_goal(search)}.")
    if "search space" in said or ("suggestion" in said and "end" in said):
        return Ending("none", "Finished", f"There was nothing left to try after {tried}{_goal(search)}.")
    if not said or any(word in said for word in ("running", "created", "restarting")):
        return Ending("none", "Running", f"The search goes on; {tried} have been suggested so far.")
    return Ending("none", "Ended", search.status)


def _goal(search: Search) -> str:
    """Say that a goal was missed; nothing without one, or where a trial reached it all the same."""
    best = next((trial.value for trial in search.ranked()), None)
    if search.goal is None or (best is not None and (best >= search.goal if search.maximize else best <= search.goal)):
        return ""
    return f"; the goal, {search.objective} of {number(search.goal)}, was not reached"


def counts(search: Search) -> dict[str, int]:
    """Return the number of trials in each state that occurs, in plain words."""
    found = Counter[str](trial.state for trial in search.trials)
    return {words: found[state] for state, words in STATES.items() if found[state]}
