"""Trains a small language model from scratch on text alone, tokenizer included.

The folder it makes is one that transformers loads, so that text-only training takes it as `lm=FOLDER`:

    config.json, model.safetensors   the model, at the end or when training was stopped
    tokenizer.json and its config    the tokenizer, from the beginning
    pretraining.json                 settings, counts, losses, fingerprint of the texts
    training.jsonl                   loss and learning rate by step
    state.safetensors                weights and optimiser at the last save; gone when training is done
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.core.atomic_files import (
    WriteError,
    atomic_path,
    fingerprint,
    read_json,
    remove_stale,
    report_write_errors,
    write_json,
)
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.core.readers.texts import Corpus, read_corpus
from close_transfer.core.roles import Role, drop_settings
from close_transfer.core.text_normalization import normalize_text
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.device import pick_device
from close_transfer.models.language_models import END_TOKEN, build_from_scratch
from close_transfer.models.prompt_format import truncate_ids
from close_transfer.training.batches import Ragged
from close_transfer.training.checkpoints import RunFolder
from close_transfer.training.lm_pretrainer import STATE_FILE, Pretrainer, PretrainState, read_saved_identity
from close_transfer.training.span_corruption import SpanCorruptor, count_sentinels

_SUMMARY = "pretraining.json"
_AT_ONCE = 10_000  # texts tokenized together


@dataclass(frozen=True)
class PretrainOutcome:
    """How it ended: the folder, what its pretraining.json holds, what the command should exit with (0: to the end)."""

    folder: Path
    summary: dict[str, Any]
    exit_status: int


def _split(texts: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Training and validation texts; texts that are the same but for case and punctuation stay together.

    A single distinct text is on both sides.
    """
    keys = [normalize_text(text) for text in texts]
    ordered = sorted(set(keys), key=lambda key: fingerprint(["validation", str(seed), key]))
    if len(ordered) == 1:
        return texts, texts
    held_out = set(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)])
    sides: tuple[list[str], list[str]] = ([], [])
    for text, key in zip(texts, keys, strict=True):
        sides[key in held_out].append(text)
    return sides


def _sentinels(config: PretrainLmConfig) -> list[str]:
    """Named as T5 names them; none where the objective needs none."""
    if config.used_objective != "denoise":
        return []
    count = count_sentinels(config.max_tokens, config.corruption_rate, config.mean_span_length)
    return [f"<extra_id_{number}>" for number in range(count)]


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_tokens: int) -> tuple[Ragged, int]:
    """Ids of every text with its end token, at most `most` of them; how many texts were longer."""
    rows, num_cut = [], 0
    for start in range(0, len(texts), _AT_ONCE):
        # A text that spells a special token is text.
        ids = tokenizer(texts[start : start + _AT_ONCE], split_special_tokens=True).input_ids
        num_cut += sum(len(row) > max_tokens for row in ids)
        rows += [np.array(truncate_ids(row, max_tokens), dtype=np.int32) for row in ids]
    return Ragged.from_rows(rows), num_cut


def _save_into(folder: Path, part: PreTrainedModel | PreTrainedTokenizerBase) -> None:
    """`save_pretrained`, but every file appears complete or not at all."""
    with tempfile.TemporaryDirectory() as elsewhere, report_write_errors(Path(elsewhere)):
        part.save_pretrained(elsewhere)
        for path in sorted(Path(elsewhere).iterdir()):
            with atomic_path(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)


def _check_output(config: PretrainLmConfig) -> Path:
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file; give the path of a folder")
    if not config.resume:
        if any((folder / name).exists() for name in (_SUMMARY, STATE_FILE, "config.json")):
            raise UserError(
                f"output={folder} holds a model already; give another folder, or go on with an interrupted training "
                "by resume=true"
            )
        return folder
    if not folder.is_dir():
        raise UserError(f"resume=true: there is no training at output={folder}; start one without resume=true")
    if (folder / _SUMMARY).is_file() and not read_json(folder / _SUMMARY)["stopped_early"]:
        raise UserError(f"resume=true: the training in {folder} is finished; use lm={folder}, or give another output=")
    return folder


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Makes the folder, keeps other processes out of it, and clears what a killed one left half written."""
    with report_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refusal = UserError(f"another process trains in output={folder}; wait for it, or give another folder")
    with hold_lock(locate_lock(folder), refusal):
        remove_stale(folder)
        yield


def _tokenizer(config: PretrainLmConfig, texts: list[str], folder: Path, resumed: bool) -> PreTrainedTokenizerBase:
    """Trained on these texts and saved, or the saved one."""
    if resumed:
        return AutoTokenizer.from_pretrained(folder)
    tokenizer = train_bpe(
        texts, config.lm.vocab_size, END_TOKEN, more_special=_sentinels(config), lowercase=config.lowercase
    )
    _save_into(folder, tokenizer)
    return tokenizer


def _check_positions(config: PretrainLmConfig, model: PreTrainedModel) -> None:
    """Raises UserError for texts longer than the model's table of positions; T5 has none."""
    num_positions = getattr(model.config, "max_position_embeddings", None)
    if config.used_objective == "causal" and num_positions is not None and config.max_tokens >= num_positions:
        raise UserError(
            f"max_tokens={config.max_tokens}: the model has {num_positions} positions, one of them for the end token that starts "
            f"a text; give at most {num_positions - 1}, or more positions in lm.config"
        )


def pretrain(config: PretrainLmConfig) -> PretrainOutcome:
    """Reads texts, trains tokenizer and model, and saves both.

    Raises:
        UserError: for texts, settings or an output folder that cannot be used, and if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    folder = _check_output(config)
    device = torch.device(pick_device(config.device))
    corpus = read_corpus(
        [Path(name) for name in config.text],
        config.text_column,
        None if config.exclude is None else Path(config.exclude),
        config.exclude_column or config.text_column,
        config.on_bad_rows,
    )
    with _own_folder(folder):
        try:
            return _pretrain(config, corpus, folder, device)
        except WriteError as error:
            raise error.with_next_step("go on with the same settings and resume=true") from error


def _pretrain(config: PretrainLmConfig, corpus: Corpus, folder: Path, device: torch.device) -> PretrainOutcome:
    text_fingerprint = fingerprint(corpus.texts)
    # The fingerprint of the texts says that they are the same, wherever they are read from.
    free = (Role.LOCATION, Role.REPORTING, Role.FINGERPRINTED)
    deciding = drop_settings(PretrainLmConfig, config.model_dump(mode="json"), *free)
    identity = fingerprint([json.dumps(deciding, sort_keys=True), text_fingerprint])
    saved = read_saved_identity(folder) if config.resume else None  # none where a kill came before the first save
    if saved not in (None, identity):
        raise UserError(
            f"resume=true: the training in {folder} was started with other settings or other texts; give the same "
            "ones, or another output="
        )
    training, validation = _split(corpus.texts, config.val_share, config.seed)
    tokenizer = _tokenizer(config, training, folder, resumed=saved is not None)
    texts, num_cut = _tokenize(tokenizer, training, config.max_tokens)
    held_out, num_cut_held_out = _tokenize(tokenizer, validation, config.max_tokens)
    sentinel_ids = [int(tokenizer.get_vocab()[name]) for name in _sentinels(config)]
    torch.manual_seed(config.seed)
    model = build_from_scratch(config.lm, tokenizer)
    _check_positions(config, model)
    trainer = Pretrainer(
        config=config,
        model=model,
        texts=texts,
        validation=held_out,
        corruption=SpanCorruptor(
            config.corruption_rate, config.mean_span_length, int(tokenizer.eos_token_id), sentinel_ids
        ),
        padding=int(tokenizer.pad_token_id),
        folder=RunFolder(folder),
        device=device,
        identity=identity,
    )
    counts = {
        "training_texts": len(training),
        "validation_texts": len(validation),
        **corpus.counts,
        "cut": num_cut + num_cut_held_out,
        "training_tokens": len(texts.values),
        "vocabulary": len(tokenizer),
        "parameters": model.num_parameters(),
    }
    show(_plan(config, counts, trainer), flush=True)
    state = trainer.restore() if saved else PretrainState()
    exit_status = trainer.run(state)
    _save_into(folder, model)
    summary = {
        "stopped_early": state.step < trainer.num_steps,
        "config": config.model_dump(mode="json"),
        "counts": counts,
        "text_fingerprint": text_fingerprint,
        "trained": asdict(state),
    }
    write_json(folder / _SUMMARY, summary)
    if not summary["stopped_early"]:
        (folder / STATE_FILE).unlink()
    return PretrainOutcome(folder, summary, exit_status)


def _left_out(counts: dict[str, int]) -> str:
    return f"{counts['excluded']:,} excluded, {counts['empty']:,} empty, {counts['unusable']:,} unusable lines"


def _plan(config: PretrainLmConfig, counts: dict[str, int], trainer: Pretrainer) -> str:
    """What is about to happen, and what was left out."""
    lines = [
        f"texts:    {counts['training_texts']:,} to train on, {counts['validation_texts']:,} for validation; "
        f"left out: {_left_out(counts)}"
    ]
    if config.exclude is not None:
        lines.append(
            f"          {counts['excluded_distinct']:,} of the {counts['to_exclude']:,} distinct texts in "
            f"{config.exclude} were among them"
        )
    if counts["cut"]:
        lines.append(f"          {counts['cut']:,} longer than max_tokens={config.max_tokens} are cut there")
    lines += [
        f"model:    {config.lm.name}, {counts['parameters']:,} parameters, {counts['vocabulary']:,} tokens, {trainer.device}",
        f"training: {config.used_objective}, {trainer.num_steps:,} steps of {config.batch_size} texts, "
        f"{counts['training_tokens']:,} tokens an epoch",
        f"folder:   {config.output}",
    ]
    return "\n".join(lines)


def describe_outcome(outcome: PretrainOutcome) -> str:
    """What was used, what came of it, where it is, the next command."""
    counts, trained = outcome.summary["counts"], outcome.summary["trained"]
    lines = [
        f"trained {trained['step']:,} steps in {trained['seconds']:.0f} s on {counts['training_texts']:,} texts, "
        f"{trained['num_tokens']:,} tokens read and written; left out: {_left_out(counts)}"
    ]
    if trained["losses"]:
        loss = trained["losses"][-1]["validation_loss"]
        lines.append(f"validation loss {loss:.3f} nats a token, perplexity {math.exp(loss):.2f}")
    lines.append(f"model: {outcome.folder}")
    lines.append(
        f"stopped and saved; go on with the same settings and resume=true output={outcome.folder}"
        if outcome.summary["stopped_early"]
        else f"next:  python scripts/train_text_only.py lm={outcome.folder}"
    )
    return "\n".join(lines)


def main(config: PretrainLmConfig) -> int:
    """Pretrain, print what came of it; return the exit status."""
    outcome = pretrain(config)
    show(describe_outcome(outcome))
    return outcome.exit_status
