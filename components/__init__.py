"""KFP components: each a thin wrapper of one step, with a ``component.yaml`` beside it that needs nothing but kfp."""

COMPONENTS = (
    "configure",
    "ingest",
    "train",
    "distributed_train",
    "calibrate",
    "evaluate",
    "gate",
    "report",
    "register",
    "record",
    "outcome",
    "points",
    "tune",
    "keep_best",
    "load_ecg",
    "load_xray",
    "build_model",
)
"""Each is the package ``parak8s.components.NAME`` with a component of the same name."""
