"""What a reader must know before relying on a model, told from the facts of its run."""

from collections.abc import Iterator

from parak8s.report import words
from parak8s.report.run import Run
from parak8s.report.words import percent

SMALL = 50
"""Test examples below which the figures of a class are called uncertain."""


def limits(run: Run) -> list[str]:
    """Return what a reader must know before relying on the figures, each a sentence or two, the gravest first."""
    return [*_of_use(run), *_of_split(run), *_of_classes(run), *_of_figures(run), *_of_origin(run)]


def _of_use(run: Run) -> Iterator[str]:
    if run.synthetic:
        yield (
            "Trained and tested on synthetic data: not for clinical use. The figures show that the software works; "
            "they say nothing about patients."
        )
    else:
        yield (
            "Tested only on the data described on this page. It has not been validated for diagnosis, "
            "nor on other devices, sites or populations."
        )
    if run.verdict is not None and not run.verdict["passed"]:
        yield "The gate refused this model: it is not meant to be used."


def _of_split(run: Run) -> Iterator[str]:
    patients, shared = (run.manifest["splits"].get("test") or {}).get("patients"), run.shared_patients
    if shared == 0 or (shared is None and run.manifest["split"].get("by") == "patient"):
        yield "Split by patient: no patient of the test split was seen in training."
    elif shared or patients:
        known = f"{'all' if shared == patients else f'{shared} of the'} {patients} patients of the test split are"
        who = known if shared else "the same patients are"
        yield (
            f"Split by example, not by patient: {who} in the train split too, "
            "so the figures are optimistic for new patients."
        )
    elif not run.synthetic:
        yield (
            "The data does not say which patient an example is from: the same patients may be in the train and the "
            "test split, which would make the figures optimistic for new patients."
        )


def _of_classes(run: Run) -> Iterator[str]:
    support = {label: sum(row) for label, row in zip(run.classes, run.metrics["confusion_matrix"], strict=True)}
    small = [f"{label} ({n})" for label, n in support.items() if n < SMALL]
    if small:
        yield f"Few test examples, so uncertain figures: {', '.join(small)}."
    recalls: dict[str, float] = {
        label: metric["value"]
        for label in run.classes
        if support[label]
        and words.defined((metric := run.metrics["metrics"].get(f"recall/{label}") or {}).get("value"))
    }
    lowest = min(recalls.values(), default=1.0)
    if lowest < 1:
        weakest = ", ".join(label for label, recall in recalls.items() if recall == lowest)
        yield f"Lowest recall: {weakest} ({percent(1 - lowest)} missed)."


def _of_figures(run: Run) -> Iterator[str]:
    confidence, samples = f"{run.metrics['confidence'] * 100:g}\u00a0%", run.metrics["bootstrap_samples"]
    drawn = run.metrics["resampled"]
    yield (
        f"Intervals are {confidence} percentile intervals over {samples:,} bootstrap resamples of the test {drawn}. "
        f"They cover chance in the choice of these {drawn}, not another training seed, device or site."
    )
    if not run.calibrated:
        yield "The probabilities are not calibrated: do not read them as chances."


def _of_origin(run: Run) -> Iterator[str]:
    if (run.environment.get("git") or {}).get("dirty"):
        yield "The code had uncommitted changes: the commit alone does not reproduce this run; the code digest tells."
