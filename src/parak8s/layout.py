"""Where everything of one run lies in its directory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The directory of one run, as ``parak8s run -o DIR`` leaves it.

    Args:
        root: The directory.
        address: Where an object store keeps it; empty without one.
    """

    root: Path
    address: str = ""

    @property
    def where(self) -> str:
        """What the user calls the directory."""
        return self.address or str(self.root)

    @property
    def experiment(self) -> Path:
        """The experiment with every default written out."""
        return self.root / "experiment.yaml"

    @property
    def environment(self) -> Path:
        """Versions, commit, code digest and machine."""
        return self.root / "environment.json"

    @property
    def identity(self) -> Path:
        """Fingerprint, data digest and MLflow run of the run that began here."""
        return self.root / "run.json"

    @property
    def starts(self) -> Path:
        """How often a job's leader has started in a row without getting anywhere."""
        return self.root / ".starts.json"

    @property
    def dataset(self) -> Path:
        """Arrays of each split, and their manifest."""
        return self.root / "dataset"

    @property
    def training(self) -> Path:
        """The network before calibration, the history, the checkpoints."""
        return self.root / "training"

    @property
    def certificate(self) -> Path:
        """How far many workers are from one, with ``--certify``."""
        return self.training / "certificate.json"

    @property
    def code(self) -> Path:
        """Modules of the user's own that a pipeline sent along."""
        return self.root / "code"

    @property
    def model(self) -> Path:
        """``model.keras`` (raw batch -> probabilities) and ``saved_model/1/``."""
        return self.root / "model"

    @property
    def evaluation(self) -> Path:
        """Metrics, predictions and telling examples of the test split."""
        return self.root / "evaluation"

    @property
    def gate(self) -> Path:
        """The verdict."""
        return self.root / "gate"

    @property
    def registration(self) -> Path:
        """What MLflow knows of the run."""
        return self.root / "registration"

    @property
    def report(self) -> Path:
        """The page with pictures."""
        return self.root / "report.html"

    @property
    def result(self) -> Path:
        """The small typed result, as JSON."""
        return self.root / "result.json"
