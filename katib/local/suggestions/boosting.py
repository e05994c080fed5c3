"""Gradient boosting with an idea of its own uncertainty, for Bayesian optimization."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor

QUANTILES = (0.16, 0.5, 0.84)
"""Of a normal distribution: one standard deviation below the mean, the mean, and one above."""


class BoostedQuantiles(RegressorMixin, BaseEstimator):  # type: ignore[misc] # both are Any to mypy
    """Predicts a median and half the distance between two quantiles, as scikit-optimize's GBRT does.

    That one, in 0.10.2, works with neither scikit-learn 1.9 nor NumPy 2.4.

    Args:
        random_state: Seed of each of the three models.
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, points: Any, values: Any) -> BoostedQuantiles:
        """Fit one model of 30 trees to each quantile."""
        options = {"loss": "quantile", "n_estimators": 30, "random_state": self.random_state}
        self.models_ = [GradientBoostingRegressor(alpha=alpha, **options).fit(points, values) for alpha in QUANTILES]
        return self

    def predict(self, points: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the median of each point, with its standard deviation where that is asked for."""
        low, middle, high = (np.asarray(model.predict(points)) for model in self.models_)
        return (middle, (high - low) / 2) if return_std else middle
