"""TFJobs on a cluster: created, followed to their end, explained where they do not start or fail, deleted."""

from parak8s.cluster.api.objects import Created
from parak8s.cluster.jobs.jobs import Jobs, connect
from parak8s.cluster.jobs.telling import Narrator, Outcome

__all__ = ["Created", "Jobs", "Narrator", "Outcome", "connect"]
