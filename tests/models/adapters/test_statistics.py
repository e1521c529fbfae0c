import numpy as np
import pytest

from close_transfer.core.errors import UserError
from close_transfer.models.adapters.statistics import Statistics


@pytest.mark.parametrize("values", [np.full(4, np.nan), np.array([1.0, np.inf, 0.0, 0.0])])
def test_statistics_that_are_not_finite_floats_are_refused(values, tmp_path):
    Statistics({"text_mean": values}).save(tmp_path)
    with pytest.raises(
        UserError, match=r"text_mean \(float64\) is not an array of finite 64-bit floats\. Fit the statistics"
    ):
        Statistics.load(tmp_path, 4)
