"""Writes ``component.yaml`` beside every component: ``python -m parak8s.components``."""

from importlib import import_module
from pathlib import Path

from parak8s import files
from parak8s.components import COMPONENTS
from parak8s.components.spec import documents_of, dumped


def main() -> None:
    """Write every component's specification, whole or not at all."""
    for name in COMPONENTS:
        component = getattr(import_module(f"parak8s.components.{name}"), name)
        comment = f"The component {name} of ParaK8s, made from the function beside it by: make compile"
        files.write_text(Path(__file__).parent / name / "component.yaml", dumped(documents_of(component), comment))


if __name__ == "__main__":
    main()
