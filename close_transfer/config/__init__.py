"""What a command can be told: one typed schema, checked as a whole before anything runs.

The YAML files in ``configs/`` hold the values; the classes here say which keys exist, their types
and ranges. Every mistake is reported at once, each with its value and what is allowed.
"""

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.base import TaskName
from close_transfer.config.baseline import BaselineConfig
from close_transfer.config.commands import EvalConfig, PredictConfig, TrainConfig, given_noise, without_noise
from close_transfer.config.data import DataConfig, PicturebookData, TableData
from close_transfer.config.export import ExportConfig, ReadPrefixConfig
from close_transfer.config.fitting import FitConfig
from close_transfer.config.gap import GapConfig
from close_transfer.config.parts import (
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
    TimmConfig,
)
from close_transfer.config.prepare import PrepareConfig
from close_transfer.config.pretraining import PretrainConfig
from close_transfer.config.scoring import ReportConfig, ScoreConfig
from close_transfer.config.studies import CorporaConfig, FewShotConfig, RealVectorsConfig, StudyConfig
from close_transfer.config.sweeping import SweepConfig
from close_transfer.config.world import (
    ContactSheetConfig,
    ContrastiveConfig,
    ExportGrammarConfig,
    PicturebookTextConfig,
)

__all__ = [
    "AdapterConfig",
    "BaselineConfig",
    "ClipConfig",
    "ContactSheetConfig",
    "ContrastiveConfig",
    "CorporaConfig",
    "DataConfig",
    "EvalConfig",
    "ExportConfig",
    "ExportGrammarConfig",
    "FewShotConfig",
    "FitConfig",
    "GapConfig",
    "LMConfig",
    "LoopConfig",
    "MapperConfig",
    "OpenClipConfig",
    "PicturebookData",
    "PicturebookTextConfig",
    "PrecomputedConfig",
    "PredictConfig",
    "PrepareConfig",
    "PretrainConfig",
    "PretrainedLM",
    "ReadPrefixConfig",
    "RealVectorsConfig",
    "ReportConfig",
    "ScoreConfig",
    "ScratchLM",
    "StoreConfig",
    "StudyConfig",
    "SweepConfig",
    "TableData",
    "TaskConfig",
    "TaskName",
    "TimmConfig",
    "TrainConfig",
    "given_noise",
    "without_noise",
]
