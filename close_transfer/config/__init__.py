"""What a command can be told: one typed schema, checked as a whole before anything runs.

The YAML files in ``configs/`` hold the values; the classes here say which keys exist, their types
and ranges. Every mistake is reported at once, each with its value and what is allowed.
"""

from close_transfer.config.base import C, Strict, TaskName
from close_transfer.config.commands import EvalConfig, PredictConfig, TrainConfig, noise_std
from close_transfer.config.data import DataConfig, PicturebookData, TableData
from close_transfer.config.parts import (
    AdapterConfig,
    ClipConfig,
    LMConfig,
    LoopConfig,
    MapperConfig,
    OpenClipConfig,
    PrecomputedConfig,
    PretrainedLM,
    ScratchLM,
    StoreConfig,
    TaskConfig,
)
from close_transfer.config.prepare import PrepareConfig
from close_transfer.config.pretraining import PretrainConfig
from close_transfer.config.scoring import ReportConfig, ScoreConfig
from close_transfer.config.studies import RealVectorsConfig
from close_transfer.config.world import ContactSheetConfig, ContrastiveConfig

__all__ = [
    "AdapterConfig",
    "C",
    "ClipConfig",
    "ContactSheetConfig",
    "ContrastiveConfig",
    "DataConfig",
    "EvalConfig",
    "LMConfig",
    "LoopConfig",
    "MapperConfig",
    "OpenClipConfig",
    "PicturebookData",
    "PrecomputedConfig",
    "PredictConfig",
    "PrepareConfig",
    "PretrainConfig",
    "PretrainedLM",
    "RealVectorsConfig",
    "ReportConfig",
    "ScoreConfig",
    "ScratchLM",
    "StoreConfig",
    "Strict",
    "TableData",
    "TaskConfig",
    "TaskName",
    "TrainConfig",
    "noise_std",
]
