"""What holds for all tests: which files take longest, and that a busy machine is no fault of the code."""

import functools
import inspect

import pytest
from hypothesis import HealthCheck, settings

LONG = (
    *("test_pipeline_run", "test_tracking", "test_xray_run", "test_training", "test_stages", "test_transfer"),
    *("test_run", "test_components", "test_weights", "test_devices", "test_xray_serving", "test_grad_cam"),
    *("test_pipelines", "test_distributed", "test_cli_jobs", "test_tfjob_engine", "test_katib_engine"),
    *("test_cli_tune", "test_tune_component", "test_katib_suggestions", "test_search_report", "test_workplace"),
)
"""Files that take long. They begin first, so that no process waits for another at the end, and are marked ``long``."""

# KFP asks at each task of a pipeline for the stack, to name its caller in an error. With the sources of pytest's many
# frames, which nobody looks at, that was most of the time in which a pipeline was built.
inspect.stack = functools.partial(inspect.stack, 0)

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first and mark them."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    for item in items:
        if item.path.stem in LONG:
            item.add_marker("long")
