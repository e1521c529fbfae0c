"""Names that several settings choose from."""

from typing import Literal

TaskName = Literal["captioning", "captioning-multi", "snli-ve", "vqa", "vqa-e", "visual-news", "custom"]
EvalSplit = Literal["train", "val", "test", "test-novel"]
Scene = Literal["image", "text"]
Checkpoint = Literal["best", "last"]
# Ways to choose the noise: from texts, from statistics of unpaired pictures, from statistics of pairs.
AutoNoise = Literal["auto", "auto-unpaired", "auto-paired"]
NoiseRule = Literal["largest_coordinate", "cosine", "shifted_validation"]
