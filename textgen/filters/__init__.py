"""Filters that remove texts from a corpus, stage by stage, with a reason for each removal."""

from textgen.filters.build import build_chain
from textgen.filters.chain import ChainResult, Removal, Stage, StageCount, run_chain
from textgen.filters.clip_tokens import require_clip

__all__ = ["ChainResult", "Removal", "Stage", "StageCount", "build_chain", "require_clip", "run_chain"]
