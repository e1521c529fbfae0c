"""What takes texts out of a corpus, stage after stage, and says why."""

from textgen.filters.build import build_chain
from textgen.filters.chain import ChainResult, Removal, Stage, StageCount, run_chain
from textgen.filters.clip_tokens import require_clip

__all__ = ["ChainResult", "Removal", "Stage", "StageCount", "build_chain", "require_clip", "run_chain"]
