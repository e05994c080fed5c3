"""What MLflow is told, and asked: runs, models, aliases, lineage."""

from parak8s.tracking.registry import Champion
from parak8s.tracking.tracker import Tracker

__all__ = ["Champion", "Tracker"]
