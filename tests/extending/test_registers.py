"""Tests that settings, code and YAML files name the same parts."""

from typing import get_args

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.choices import ExtraMetricName
from close_transfer.config.components import ENCODER_KINDS, MapperConfig
from close_transfer.encoders import ENCODERS
from close_transfer.metrics.extra_metrics import ENCODER_SCORES, EXTRA_METRICS
from close_transfer.models.adapters import ADAPTERS
from close_transfer.models.mappers import MAPPERS
from tests.conftest import REPOSITORY


def options(group):
    return {path.stem for path in (REPOSITORY / "configs" / group).glob("*.yaml")}


def test_adapters():
    assert set(ADAPTERS) == set(AdapterConfig.model_fields) == options("adapter")


def test_mappers():
    named = {get_args(member.model_fields["name"].annotation)[0] for member in get_args(get_args(MapperConfig)[0])}
    assert set(MAPPERS) == named == options("mapper")


def test_encoders():
    assert set(ENCODERS) == {kind for kind, settings in ENCODER_KINDS.items() if settings.encodes_images}
    assert set(ENCODER_KINDS) <= options("clip")


def test_extra_metrics():
    assert set(EXTRA_METRICS) == set(get_args(ExtraMetricName))
    assert {"CLIPScore", "RefCLIPScore"} == ENCODER_SCORES
