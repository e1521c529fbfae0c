"""train_text_tower.py: train a text tower by the loss of CLIP, with an image tower or against a frozen encoder (LiT).

The folder that it writes is an open_clip model, which other commands take as clip=open_clip clip.model=local-dir:FOLDER:

    open_clip_config.json, open_clip_model.safetensors, tokenizer.json, tokenizer_config.json, checksums.json
    encoder/           with image_tower=trained: the image tower without its projection, for clip=captioner
    text_tower.json    settings, counts and losses of the training; written last
    training.jsonl     loss and learning rate by step
    checkpoints/       states of an interrupted training; removed when it is finished
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from close_transfer.config.components import PrecomputedConfig
from close_transfer.config.encoder_folder import ENCODER_FOLDER
from close_transfer.config.train_text_tower import TrainTextTowerConfig
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.encoders.captioner_encoder import VisionSizes, save_encoder, select_vision_sizes
from close_transfer.encoders.captioner_tower import PREPROCESSING, describe_tower
from close_transfer.encoders.embeddings import SceneVectors, encode_image_refs
from close_transfer.encoders.locked_tower import LockedTower, LockedTowerEncoder, load_locked_tower
from close_transfer.encoders.weights_fingerprint import fingerprint_weights
from close_transfer.models.device import pick_device
from close_transfer.models.open_clip_saving import save_open_clip
from close_transfer.models.saving import load_weights
from close_transfer.models.two_towers import TwoTowers, TwoTowersConfig, describe_text_tower
from close_transfer.pipelines.captioned_training import (
    compute_identity,
    describe_stop,
    load_captioned_data,
    train_in_folder,
    train_or_load_tokenizer,
    write_summary,
)
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.captioned_images import load_captioned_images, tokenize_texts_of_images
from close_transfer.training.contrastive_objective import ContrastiveObjective, TextImagePairs
from close_transfer.training.pretraining_folder import (
    PretrainingState,
    check_pretraining_folder,
    find_resumed_checkpoint,
)
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.scene_tensors import place_scenes
from close_transfer.training.trainer import Outcome, Trainer, count_steps, read_learning_curves
from close_transfer.training.training_data import TrainingData

_SUMMARY = "text_tower.json"
_NEXT = "clip=open_clip clip.model=local-dir:"
# Settings of captioner= that only a trained image tower has.
_IMAGE_SIZES = ("captioner.image_size", "captioner.patch_size", "captioner.depth")


@dataclass(frozen=True)
class _Plan:
    """Settings of the training, its data, the frozen image tower if there is one, and the fingerprint of it all."""

    config: TrainTextTowerConfig
    data: TrainingData
    tower: LockedTower | None
    identity: str

    @property
    def vision(self) -> VisionSizes | None:
        """Return the sizes of the image tower that is trained; None if it is frozen."""
        return select_vision_sizes(self.config.captioner) if self.tower is None else None

    @property
    def embed_dim(self) -> int:
        """Return the width of the vectors that are compared: that of the image tower's own."""
        return self.config.captioner.width if self.tower is None else self.tower.embed_dim


def train_text_tower(config: TrainTextTowerConfig) -> tuple[Path, Outcome]:
    """Train a text tower, and write it with its image tower as an open_clip model.

    Raises:
        UserError: if data, settings or the output folder cannot be used, or if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    folder = check_pretraining_folder(config.output, config.resume, _SUMMARY, _NEXT)
    accelerator = build_accelerator(pick_device(config.device), config.train.precision, config.train.cuda_graphs)
    if accelerator.num_processes > 1:
        raise UserError(
            f"{accelerator.num_processes} processes: each would compare its own part of a batch only, which is another loss. "
            "Start one process"
        )
    tower = None if config.clip is None else load_locked_tower(config.clip)
    data = load_captioned_data(config)
    parts = [] if tower is None else [fingerprint_weights(tower.visual)]
    plan = _Plan(config, data, tower, compute_identity(config, data, *parts))
    run = RunFolder(folder)
    with train_in_folder(run, accelerator):
        return folder, _train(plan, run, accelerator)


def _train(plan: _Plan, run: RunFolder, accelerator: Accelerator) -> Outcome:
    config, data = plan.config, plan.data
    last = find_resumed_checkpoint(run, config.resume, PretrainingState, plan.identity)
    tokenizer = train_or_load_tokenizer(config, data, last)
    torch.manual_seed(config.seed)
    model = TwoTowers(_describe_towers(plan, tokenizer))
    if last is not None:
        load_weights(model, last)
    training, validation = (
        _load_pairs(plan, part.examples, tokenizer, accelerator.device) for part in (data.training, data.validation)
    )
    pad_id, context_length = (model.config.text[name] for name in ("pad_id", "context_length"))
    objective = ContrastiveObjective(
        training, validation, config.mask_duplicates, pad_id, context_length, config.train, config.seed
    )
    state = PretrainingState(identity=plan.identity)
    trainer = Trainer(model, tokenizer, objective, config.train, config.seed, run, accelerator, state, is_fused=True)
    num_steps = count_steps(config.train, len(training.texts))
    counts = _collect_counts(model, objective, num_steps) | {"vocabulary": len(tokenizer)}
    show(_describe_plan(plan, counts, num_steps, accelerator), flush=True)
    outcome = trainer.run(resume=last is not None)
    if not outcome.stopped_early:
        _save(plan, run.path, model, tokenizer)
    write_summary(run, _SUMMARY, config, counts, outcome)
    if not outcome.stopped_early:
        run.remove_checkpoints()
    return outcome


def _describe_towers(plan: _Plan, tokenizer: PreTrainedTokenizerBase) -> TwoTowersConfig:
    config, sizes = plan.config, plan.config.text_tower
    assert isinstance(tokenizer.pad_token_id, int) and isinstance(tokenizer.eos_token_id, int)
    text = describe_text_tower(
        sizes.width,
        sizes.depth,
        sizes.heads,
        context_length=config.task.max_target_tokens,
        vocab_size=len(tokenizer),
        pad_id=tokenizer.pad_token_id,
        end_id=tokenizer.eos_token_id,
    )
    return TwoTowersConfig(text, plan.embed_dim, plan.vision, plan.tower is not None and plan.tower.quick_gelu)


def _load_pairs(
    plan: _Plan, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> TextImagePairs:
    """Return texts with pixels, or with the vectors of a frozen image tower, which encodes each image once."""
    config = plan.config
    if config.clip is None or plan.tower is None:
        loaded = load_captioned_images(
            examples, tokenizer, config.task, config.captioner.image_size, config.pixel_cache
        )
        return TextImagePairs(loaded.ids, loaded.texts, loaded.image_rows, loaded.gather_pixels)
    assert not isinstance(config.clip, PrecomputedConfig), "the schema refuses it"
    texts = tokenize_texts_of_images(examples, tokenizer, config.task)
    encoder = LockedTowerEncoder(plan.tower, config.clip, str(device))
    matrix, row_of = encode_image_refs(encoder, texts.images, config.embedding_cache)
    rows = np.array([row_of[image.key] for image in texts.images])[texts.image_rows]
    vectors = place_scenes(SceneVectors(matrix, rows, np.arange(len(rows) + 1)), device)
    return TextImagePairs(texts.ids, texts.texts, texts.image_rows, vectors.gather)


def _collect_counts(model: TwoTowers, objective: ContrastiveObjective, num_steps: int) -> dict[str, Any]:
    training = objective.examples
    return {
        "training_texts": len(training.texts),
        "training_images": int(training.image_rows.max()) + 1,
        "validation_texts": len(objective.validation.texts),
        "text_parameters": sum(p.numel() for p in model.text.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters()),
        "duplicates": objective.count_duplicates(num_steps),
    }


def _save(plan: _Plan, folder: Path, model: TwoTowers, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write both towers as an open_clip model, and an image tower that was trained also as an encoder without its projection."""
    model.limit_temperature()
    weights = model.collect_weights()
    described: dict[str, Any] = {"embed_dim": plan.embed_dim, "text_cfg": model.config.text, "custom_text": True}
    if plan.tower is None:
        assert plan.vision is not None and model.vision is not None
        save_encoder(folder / ENCODER_FOLDER, model.vision, plan.vision)
        described["vision_cfg"], preprocessing = describe_tower(plan.vision, "linear"), PREPROCESSING
    else:
        weights |= {f"visual.{name}": tensor for name, tensor in plan.tower.visual.state_dict().items()}
        described["vision_cfg"], preprocessing = plan.tower.vision, plan.tower.preprocessing
        if plan.tower.quick_gelu:
            described["quick_gelu"] = True
    save_open_clip(folder, weights, tokenizer, described, preprocessing)


def _describe_plan(plan: _Plan, counts: Mapping[str, Any], num_steps: int, accelerator: Accelerator) -> str:
    config, duplicates = plan.config, counts["duplicates"]
    images = (
        f"trained, {plan.config.captioner.image_size} pixels" if plan.tower is None else f"locked, {plan.tower.name}"
    )
    lines = [
        f"texts:    {counts['training_texts']:,} on {counts['training_images']:,} images to train on, "
        f"{counts['validation_texts']:,} for validation",
        f"images:   {images}, vectors of {plan.embed_dim}",
        f"text:     {counts['text_parameters']:,} parameters, {counts['vocabulary']:,} tokens",
        f"training: {counts['trained_parameters']:,} parameters, {num_steps:,} steps of {config.train.batch_size} texts, "
        f"{accelerator.device}",
        f"in batch: {duplicates['texts_with_another_of_their_image']:.1%} of texts with another of their image, "
        f"{duplicates['texts_with_an_equal_one']:.1%} with an equal one, "
        f"{'not' if config.mask_duplicates else 'counted as'} negatives",
        f"folder:   {config.output}",
    ]
    return "\n".join(lines + ([plan.tower.note] if plan.tower is not None and plan.tower.note else []))


def _check_arguments(config: TrainTextTowerConfig, arguments: Sequence[str]) -> None:
    """Refuse sizes of the image tower if it is locked.

    Raises:
        UserError: if one was typed.
    """
    for argument in arguments if config.is_locked else ():
        if argument.partition("=")[0] in _IMAGE_SIZES:
            raise UserError(
                f"{argument} has no effect with image_tower=locked, whose sizes are the encoder's. Leave it out"
            )


def main(config: TrainTextTowerConfig, arguments: Sequence[str] = ()) -> int:
    """Train, print the outcome and the next command, and return the exit status."""
    _check_arguments(config, arguments)
    folder, outcome = train_text_tower(config)
    lines = [f"trained {outcome.state.step:,} steps in {outcome.state.seconds:.0f} s"]
    if outcome.stopped_early:
        lines.append(describe_stop(folder))
    else:
        lines += [f"validation loss {loss:.3f}" for _, loss in read_learning_curves(folder)["validation"][-1:]]
        lines.append(f"encoder: {_NEXT}{folder}")
        if config.clip is None:
            lines.append(f"image tower alone: clip=captioner clip.model={folder}")
        lines.append(f"next:  python scripts/train_text_only.py {_NEXT}{folder}")
    show("\n".join(lines))
    return outcome.exit_status
