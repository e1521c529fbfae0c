"""Plan and outcome of a pretraining, as text for the terminal."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from close_transfer.config.pretrain_lm import PretrainLmConfig


@dataclass(frozen=True)
class PretrainOutcome:
    """Outcome of a pretraining.

    Attributes:
        folder: folder of the model.
        summary: content of pretraining.json.
        exit_status: exit status of the command; 0 if training finished.
    """

    folder: Path
    summary: dict[str, Any]
    exit_status: int


def _describe_left_out(counts: dict[str, int]) -> str:
    return f"{counts['excluded']:,} excluded, {counts['empty']:,} empty, {counts['unusable']:,} unusable lines"


def describe_plan(config: PretrainLmConfig, counts: dict[str, int], num_steps: int, device: torch.device) -> str:
    """Return the plan, and the numbers of lines left out."""
    lines = [
        f"texts:    {counts['training_texts']:,} to train on, {counts['validation_texts']:,} for validation; "
        f"left out: {_describe_left_out(counts)}"
    ]
    if config.exclude is not None:
        lines.append(
            f"          {counts['excluded_distinct']:,} of the {counts['to_exclude']:,} distinct texts in "
            f"{config.exclude} were among them"
        )
    if counts["cut"]:
        lines.append(
            f"          {counts['cut']:,} texts are longer than max_tokens={config.max_tokens} and are cut there"
        )
    lines += [
        f"model:    {config.lm.name}, {counts['parameters']:,} parameters, {counts['vocabulary']:,} tokens, {device}",
        f"training: {config.used_objective}, {num_steps:,} steps of {config.batch_size} texts, "
        f"{counts['training_tokens']:,} tokens per epoch",
        f"folder:   {config.output}",
    ]
    return "\n".join(lines)


def describe_outcome(outcome: PretrainOutcome) -> str:
    """Return the training data and time, the validation loss, the folder, and the next command."""
    counts, trained = outcome.summary["counts"], outcome.summary["trained"]
    lines = [
        f"trained {trained['step']:,} steps in {trained['seconds']:.0f} s on {counts['training_texts']:,} texts, "
        f"{trained['num_tokens']:,} tokens read and written; left out: {_describe_left_out(counts)}"
    ]
    if trained["losses"]:
        loss = trained["losses"][-1]["validation_loss"]
        lines.append(f"validation loss {loss:.3f} nats per token, perplexity {math.exp(loss):.2f}")
    lines.append(f"model: {outcome.folder}")
    lines.append(
        f"stopped and saved; to continue, use the same settings and resume=true output={outcome.folder}"
        if outcome.summary["stopped_early"]
        else f"next:  python scripts/train_text_only.py lm={outcome.folder}"
    )
    return "\n".join(lines)
