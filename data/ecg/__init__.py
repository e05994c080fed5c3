"""Heartbeats in five classes: the loader ``ecg`` and the four forms that it reads."""

from parak8s.data.ecg.loader import Augment, ECGLoader

__all__ = ["Augment", "ECGLoader"]
