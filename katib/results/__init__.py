"""What a search leaves for people: a table, a leaderboard, a page with pictures. No TensorFlow, no Kubernetes."""

from parak8s.katib.results.leaders import leaderboard
from parak8s.katib.results.page import write_report
from parak8s.katib.results.records import Metric, Search, TrialRecord
from parak8s.katib.results.trials_csv import write_trials_csv

__all__ = ["Metric", "Search", "TrialRecord", "leaderboard", "write_report", "write_trials_csv"]
