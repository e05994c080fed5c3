"""Chest X-rays, normal or with pneumonia: the loader ``xray`` and the forms that it reads."""

from parak8s.data.xray.loader import Augment, XRayLoader

__all__ = ["Augment", "XRayLoader"]
