"""The container image in which every component runs."""

from parak8s import __version__

IMAGE = f"parak8s:{__version__}"
"""ParaK8s and its dependencies. ``compute.image`` replaces it in a compiled pipeline: name it with your registry."""
