"""How sure a mean over patients is."""

import numpy as np
from scipy import stats


def bootstrap_interval(values, confidence: float = 0.95, seed: int = 42) -> tuple[float, float]:
    """Bootstrap interval (BCa) for the mean over patients.

    Args:
        values: one number per patient; NaN (nothing to measure) is left out.
        confidence: of the interval.
        seed: of the resampling, 9,999 times.
    Returns:
        Lower and upper end; NaN for fewer than two values; the value itself where all are equal.
    Source: Efron (1987), doi:10.1080/01621459.1987.10478410; scipy.stats.bootstrap.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = stats.bootstrap((values,), np.mean, confidence_level=confidence, method="BCa",
                            rng=np.random.default_rng(seed))
    return float(interval.confidence_interval.low), float(interval.confidence_interval.high)
