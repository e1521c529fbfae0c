"""pretrain_lm.py: train a small language model and its tokenizer from scratch on text alone.

transformers loads the folder that it writes, and text-only training takes it as `lm=FOLDER`:

    config.json, model.safetensors   model, at the end or when training was stopped
    tokenizer.json and its config    tokenizer, from the beginning
    pretraining.json                 settings, counts, losses, fingerprint of the texts
    training.jsonl                   loss and learning rate by step
    checkpoints/, best, last         as in a run (training/run_folder.py); removed when training is finished
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.config.components import LoopConfig
from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.core.atomic_files import (
    WriteError,
    fingerprint,
    write_json,
)
from close_transfer.core.checksums import write_checksums
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.readers.texts import Corpus, read_corpus
from close_transfer.core.roles import Role, drop_settings
from close_transfer.core.text_normalization import normalize_text
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.device import pick_device
from close_transfer.models.language_models import END_TOKEN, build_from_scratch
from close_transfer.models.pretrained import load_saved_tokenizer
from close_transfer.models.prompt_format import truncate_ids
from close_transfer.models.saving import load_weights, save_parts
from close_transfer.pipelines.pretraining_summary import PretrainOutcome, describe_outcome, describe_plan
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.pretraining_folder import check_pretraining_folder, find_resumed_checkpoint
from close_transfer.training.pretraining_objective import (
    NextTokenCollator,
    PretrainingObjective,
    PretrainState,
    SpanCorruptionCollator,
)
from close_transfer.training.ragged import Ragged
from close_transfer.training.run_folder import RunFolder, TrainingState
from close_transfer.training.span_corruption import SpanCorruptor, count_sentinels
from close_transfer.training.train_step import NonFiniteError
from close_transfer.training.trainer import Trainer, count_steps

_SUMMARY = "pretraining.json"
_MAX_GRADIENT_NORM = 1.0  # the customary limit
_TEXTS_AT_ONCE = 10_000  # texts per call of the tokenizer; it bounds memory


def _split_texts(texts: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Return training and validation texts; texts that differ only in case and punctuation stay together.

    A single distinct text is used for both.
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


def _list_sentinels(config: PretrainLmConfig) -> list[str]:
    """Return the sentinels, named as in T5; empty if the objective uses none."""
    if config.used_objective != "denoise":
        return []
    count = count_sentinels(config.max_tokens, config.corruption_rate, config.mean_span_length)
    return [f"<extra_id_{number}>" for number in range(count)]


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_tokens: int) -> tuple[Ragged, int]:
    """Return the ids of every text with its end token, at most `max_tokens` each, and how many texts were cut."""
    rows, num_cut = [], 0
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        # A special token that is spelled out in a text is ordinary text.
        ids = tokenizer(texts[start : start + _TEXTS_AT_ONCE], split_special_tokens=True).input_ids
        num_cut += sum(len(row) > max_tokens for row in ids)
        rows += [np.array(truncate_ids(row, max_tokens), dtype=np.int32) for row in ids]
    return Ragged.from_rows(rows), num_cut


def _train_or_load_tokenizer(
    config: PretrainLmConfig, texts: list[str], folder: Path, resumed: bool, saves: bool
) -> PreTrainedTokenizerBase:
    """Return a tokenizer trained on these texts and save it if `saves`, or load the saved one."""
    if resumed:
        return load_saved_tokenizer(folder)
    tokenizer = train_bpe(
        texts, config.lm.vocab_size, END_TOKEN, more_special=_list_sentinels(config), lowercase=config.lowercase
    )
    if saves:
        save_parts(folder, tokenizer)
    return tokenizer


def _check_positions(config: PretrainLmConfig, model: PreTrainedModel) -> None:
    """Check that texts fit into the model's table of positions; T5 has none.

    Raises:
        UserError: if they do not fit.
    """
    num_positions = getattr(model.config, "max_position_embeddings", None)
    if config.used_objective == "causal" and num_positions is not None and config.max_tokens >= num_positions:
        raise UserError(
            f"max_tokens={config.max_tokens}: the model has {num_positions} positions, and the end token before a text takes "
            f"one. Give at most {num_positions - 1}, or more positions in lm.config"
        )


def pretrain(config: PretrainLmConfig) -> PretrainOutcome:
    """Read texts, train tokenizer and model, and save both.

    Raises:
        UserError: if texts, settings or the output folder cannot be used, or if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    folder = check_pretraining_folder(config.output, config.resume, _SUMMARY, "lm=")
    device = pick_device(config.device)
    corpus = read_corpus(
        [Path(name) for name in config.text],
        config.text_column,
        None if config.exclude is None else Path(config.exclude),
        config.exclude_column or config.text_column,
        config.on_bad_rows,
        config.check_text,
    )
    accelerator = build_accelerator(device, config.precision, config.cuda_graphs)
    run = RunFolder(folder)
    with run.lock_for_all_processes(accelerator):
        try:
            return _pretrain(config, corpus, run, accelerator)
        except WriteError as error:
            raise error.with_next_step("continue with the same settings and resume=true") from error
        except NonFiniteError as error:
            raise UserError(str(error)) from error


def _build_loop_config(config: PretrainLmConfig) -> LoopConfig:
    return LoopConfig(
        epochs=config.epochs,
        max_steps=config.max_steps,
        batch_size=config.batch_size,
        gradient_accumulation=1,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        schedule="linear",
        max_examples_per_epoch=None,
        weight_decay=0.0,
        clip_grad_norm=_MAX_GRADIENT_NORM,
        label_smoothing=0.0,
        precision=config.precision,
        cuda_graphs=config.cuda_graphs,
        num_validations=config.epochs,
        max_val_examples=1_000_000_000,  # all validation texts are used
        log_every=config.log_every,
        tensorboard=False,
    )


def _build_objective(
    config: PretrainLmConfig, tokenizer: PreTrainedTokenizerBase, texts: Ragged, held_out: Ragged
) -> PretrainingObjective:
    end, padding = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    if config.used_objective == "causal":
        return PretrainingObjective(texts, held_out, NextTokenCollator(end, padding), config)
    sentinels = [int(tokenizer.get_vocab()[name]) for name in _list_sentinels(config)]
    corruptor = SpanCorruptor(config.corruption_rate, config.mean_span_length, end, sentinels)
    return PretrainingObjective(texts, held_out, SpanCorruptionCollator(corruptor, padding), config)


def _pretrain(config: PretrainLmConfig, corpus: Corpus, run: RunFolder, accelerator: Accelerator) -> PretrainOutcome:
    folder = run.path
    text_fingerprint = fingerprint(corpus.texts)
    # The texts are compared by their fingerprint, so their files may have moved.
    free = (Role.LOCATION, Role.REPORTING, Role.FINGERPRINTED)
    deciding = drop_settings(PretrainLmConfig, config.model_dump(mode="json"), *free)
    identity = fingerprint([json.dumps(deciding, sort_keys=True), text_fingerprint])
    last = find_resumed_checkpoint(run, config.resume, PretrainState, identity)
    training, validation = _split_texts(corpus.texts, config.val_share, config.seed)
    tokenizer = _train_or_load_tokenizer(config, training, folder, last is not None, accelerator.is_main_process)
    texts, num_cut = _tokenize(tokenizer, training, config.max_tokens)
    held_out, num_cut_held_out = _tokenize(tokenizer, validation, config.max_tokens)
    torch.manual_seed(config.seed)
    model = build_from_scratch(config.lm, tokenizer)
    _check_positions(config, model)
    if last is not None:
        load_weights(model, last)
    objective, loop = _build_objective(config, tokenizer, texts, held_out), _build_loop_config(config)
    trainer = Trainer(
        model,
        tokenizer,
        objective,
        loop,
        config.seed,
        run,
        accelerator,
        PretrainState(identity=identity),
        is_fused=True,
    )
    num_steps = count_steps(loop, len(texts))
    counts = {
        "training_texts": len(training),
        "validation_texts": len(validation),
        **corpus.counts,
        "cut": num_cut + num_cut_held_out,
        "training_tokens": len(texts.values),
        "vocabulary": len(tokenizer),
        "parameters": model.num_parameters(),
    }
    if accelerator.is_main_process:
        show(describe_plan(config, counts, num_steps, accelerator.device), flush=True)
    outcome = trainer.run(resume=last is not None)
    summary = {
        "stopped_early": outcome.stopped_early,
        "config": config.model_dump(mode="json"),
        "counts": counts,
        "text_fingerprint": text_fingerprint,
        "trained": _summarize_training(run, objective, outcome.state),
    }
    if accelerator.is_main_process:
        names = save_parts(folder, model) + save_parts(folder, tokenizer)
        write_checksums(folder, names)
        write_json(folder / _SUMMARY, summary)
        if not outcome.stopped_early:
            run.remove_checkpoints()
    return PretrainOutcome(folder, summary, outcome.exit_status)


def _summarize_training(run: RunFolder, objective: PretrainingObjective, state: TrainingState) -> dict[str, Any]:
    """Return steps, seconds, tokens, and the validation loss after every epoch."""
    assert isinstance(state, PretrainState)
    losses = [
        {"epoch": objective.count_epochs(entry["step"]), **entry}
        for entry in run.read_log()
        if "validation_loss" in entry
    ]
    return {"step": state.step, "seconds": state.seconds, "num_tokens": state.num_tokens, "losses": losses}


def main(config: PretrainLmConfig) -> int:
    """Pretrain, print the outcome, and return the exit status."""
    outcome = pretrain(config)
    if PartialState().is_main_process:
        show(describe_outcome(outcome))
    return outcome.exit_status
