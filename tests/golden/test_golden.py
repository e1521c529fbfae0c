"""Plans, corpora and predictions of fixed weights stay as they were recorded (`record.py`)."""

import json

import pytest

from tests.golden.record import GOLDEN, write_corpora, write_predictions

HOW = "if this change means to alter them, record them anew: python -m tests.golden.record, and say why in the commit"


def recorded():
    return json.loads(GOLDEN.read_text())


def test_plans_and_corpora_are_the_recorded_ones(tmp_path):
    assert write_corpora(tmp_path) == recorded()["corpora"], HOW


def test_predictions_of_fixed_weights_are_the_recorded_ones():
    for now, before in zip(write_predictions(), recorded()["predictions"], strict=True):
        # Scores in float32 differ in the last digits between machines, so two equally likely candidates may swap.
        assert now == pytest.approx(before, abs=1e-4), HOW
