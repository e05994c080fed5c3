"""Katib experiments on a cluster: created or resumed, followed to their end, explained where they fail, deleted."""

from parak8s.cluster.api.objects import Created
from parak8s.cluster.jobs.telling import Narrator
from parak8s.cluster.searches.searches import Searches, connect
from parak8s.cluster.searches.telling import Best, Outcome
from parak8s.cluster.searches.trials import Trial, trials_of

__all__ = ["Best", "Created", "Narrator", "Outcome", "Searches", "Trial", "connect", "trials_of"]
