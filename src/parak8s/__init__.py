"""ParaK8s: one file describes an experiment; the same file runs on a laptop and on Kubeflow."""

__version__ = "0.1.0"
