"""train_image_encoder.py: train an image encoder without language, on the images, batches and steps of a captioner.

The folder that it writes is an encoder for clip=captioner clip.model=FOLDER:

    encoder/            the image encoder
    image_encoder.json  settings, counts and losses; written last
    training.jsonl      loss and learning rate by step
    checkpoints/        states of an interrupted training; removed when it is finished
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState

from close_transfer.config.encoder_folder import ENCODER_FOLDER
from close_transfer.config.train_image_encoder import TrainImageEncoderConfig
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.encoders.captioner_encoder import build_vision_transformer, save_encoder, select_vision_sizes
from close_transfer.models.device import pick_device
from close_transfer.models.image_classifier import ImageClassifier, ImageClassifierConfig
from close_transfer.models.masked_autoencoder import MaskedAutoencoder, MaskedAutoencoderConfig
from close_transfer.models.saving import load_weights
from close_transfer.pipelines.captioned_training import (
    compute_identity,
    describe_stop,
    load_training_images,
    train_in_folder,
    train_or_load_tokenizer,
    write_summary,
)
from close_transfer.pipelines.image_encoder_examples import ImageExamples, load_image_examples
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.captioned_images import CaptionedImages
from close_transfer.training.image_encoder_objectives import ClassificationObjective, MaskedPatchesObjective
from close_transfer.training.pretraining_folder import (
    PretrainingState,
    check_pretraining_folder,
    find_resumed_checkpoint,
)
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.trainer import Outcome, Trainer, count_steps

_SUMMARY = "image_encoder.json"
_NEXT = "clip=captioner clip.model="  # settings of other commands that take the folder, up to its path
_HARMLESS = ("train.log_every", "train.tensorboard")  # settings that never change a result


def train_image_encoder(config: TrainImageEncoderConfig) -> tuple[Path, Outcome]:
    """Train an image encoder, or draw its weights, and write it.

    Raises:
        UserError: if data, settings or the output folder cannot be used, or if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    folder = check_pretraining_folder(config.output, config.resume, _SUMMARY, _NEXT)
    if config.objective == "none":
        return folder, _write_untrained(config, folder)
    accelerator = build_accelerator(pick_device(config.device), config.train.precision, config.train.cuda_graphs)
    examples = load_image_examples(config)
    run = RunFolder(folder)
    with train_in_folder(run, accelerator):
        return folder, _train(config, examples, run, accelerator)


def _write_untrained(config: TrainImageEncoderConfig, folder: Path) -> Outcome:
    """Write an encoder whose weights are drawn by the seed: those that a captioner with this seed starts from."""
    torch.manual_seed(config.seed)
    sizes = select_vision_sizes(config.captioner)
    vision = build_vision_transformer(sizes)
    outcome = Outcome(PretrainingState(), stopped_early=False)
    PartialState().wait_for_everyone()  # all have checked the folder before it is written
    if PartialState().is_main_process:
        save_encoder(folder / ENCODER_FOLDER, vision, sizes)
        counts = {"encoder_parameters": _count_parameters(vision)}
        write_summary(RunFolder(folder), _SUMMARY, config, counts, outcome)
    PartialState().wait_for_everyone()
    return outcome


def _count_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _build_model(config: TrainImageEncoderConfig, examples: ImageExamples) -> ImageClassifier | MaskedAutoencoder:
    """Build encoder and head or decoder with random weights, drawn by the seed."""
    torch.manual_seed(config.seed)
    sizes = select_vision_sizes(config.captioner)
    if examples.labels is not None:
        return ImageClassifier(ImageClassifierConfig(sizes, len(examples.labels.classes)))
    return MaskedAutoencoder(MaskedAutoencoderConfig(sizes, config.num_visible, config.used_decoder_depth))


def _build_objective(
    config: TrainImageEncoderConfig, examples: ImageExamples, training: CaptionedImages, validation: CaptionedImages
) -> ClassificationObjective | MaskedPatchesObjective:
    labels = examples.labels
    if labels is not None:
        return ClassificationObjective(
            training, validation, labels.training, labels.validation, config.train, config.seed
        )
    patch_size = config.captioner.patch_size
    return MaskedPatchesObjective(training, validation, patch_size, config.num_visible, config.train, config.seed)


def _train(
    config: TrainImageEncoderConfig, examples: ImageExamples, run: RunFolder, accelerator: Accelerator
) -> Outcome:
    data = examples.data
    identity = compute_identity(config, data)
    last = find_resumed_checkpoint(run, config.resume, PretrainingState, identity)
    tokenizer = train_or_load_tokenizer(config, data, last) if examples.is_ordered_by_texts else None
    model = _build_model(config, examples)
    if last is not None:
        load_weights(model, last)
    training, validation = load_training_images(config, data, tokenizer, accelerator)
    objective = _build_objective(config, examples, training, validation)
    state = PretrainingState(identity=identity)
    trainer = Trainer(model, tokenizer, objective, config.train, config.seed, run, accelerator, state, is_fused=True)
    counts = {
        "training_texts": len(training.texts),
        "training_images": len(training.pixels),
        "validation_images": len(validation.pixels),
        "encoder_parameters": _count_parameters(model.vision),
        "discarded_parameters": _count_parameters(model) - _count_parameters(model.vision),
    }
    if examples.labels is not None:
        counts["classes"] = len(examples.labels.classes)
    if accelerator.is_main_process:
        show(_describe_plan(config, counts, count_steps(config.train, len(training.texts)), accelerator), flush=True)
    outcome = trainer.run(resume=last is not None)
    if accelerator.is_main_process:
        if not outcome.stopped_early:
            save_encoder(run.path / ENCODER_FOLDER, model.vision, select_vision_sizes(config.captioner))
        write_summary(run, _SUMMARY, config, counts, outcome)
        if not outcome.stopped_early:
            run.remove_checkpoints()
    accelerator.wait_for_everyone()
    return outcome


def _describe_plan(
    config: TrainImageEncoderConfig, counts: dict[str, int], num_steps: int, accelerator: Accelerator
) -> str:
    discarded = f"{counts['discarded_parameters']:,} parameters"
    head = (
        f"head:     {discarded}, {counts['classes']:,} classes"
        if config.objective == "classes"
        else f"decoder:  {discarded}; the encoder sees {config.num_visible} of an image's patches"
    )
    return "\n".join(
        [
            f"images:   {counts['training_images']:,} with {counts['training_texts']:,} texts to train on, "
            f"{counts['validation_images']:,} for validation",
            f"encoder:  {counts['encoder_parameters']:,} parameters, {config.num_patches} patches of "
            f"{config.captioner.patch_size} pixels",
            head,
            f"training: objective={config.objective}, {num_steps:,} steps of {config.train.batch_size} images, "
            f"{accelerator.device}",
            f"folder:   {config.output}",
        ]
    )


def _check_arguments(config: TrainImageEncoderConfig, arguments: Sequence[str]) -> None:
    """Refuse settings of the training if nothing is trained.

    Raises:
        UserError: if one was typed.
    """
    for argument in arguments if config.objective == "none" else ():
        if argument.startswith("train.") and argument.partition("=")[0] not in _HARMLESS:
            raise UserError(f"{argument}: objective=none trains nothing. Leave it out, or give another objective")


def main(config: TrainImageEncoderConfig, arguments: Sequence[str] = ()) -> int:
    """Train, print the outcome and the next command, and return the exit status."""
    _check_arguments(config, arguments)
    folder, outcome = train_image_encoder(config)
    if PartialState().is_main_process:
        state = outcome.state
        lines = [
            f"random weights, drawn by seed={config.seed}"
            if config.objective == "none"
            else f"trained {state.step:,} steps in {state.seconds:.0f} s"
        ]
        if outcome.stopped_early:
            lines.append(describe_stop(folder))
        else:
            lines.append(f"encoder: {_NEXT}{folder}")
            lines.append(f"next:  python scripts/probe_encoder.py {_NEXT}{folder}")
        show("\n".join(lines))
    return outcome.exit_status
