"""train_captioner.py: pretrain an image encoder by captioning (Cap and CapPa, arXiv 2306.07915).

The folder that it writes is a run, which other commands take as run=FOLDER, and holds the encoder for clip=captioner:

    encoder/           the image encoder
    model/             the decoder, as a run's checkpoint; `best` and `last` point to it
    config.yaml        settings of a run on the encoder's grid of vectors
    captioner.json     settings, counts and losses of the pretraining; written last
    training.jsonl     loss and learning rate by step
    checkpoints/       states of an interrupted training; removed when it is finished
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from transformers import PreTrainedTokenizerBase

from close_transfer.config.encoder_folder import ENCODER_FOLDER
from close_transfer.config.train import TrainConfig
from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.core.atomic_files import replace_link
from close_transfer.core.checksums import write_checksums
from close_transfer.core.console import show
from close_transfer.encoders import load_encoder
from close_transfer.encoders.captioner_encoder import save_encoder
from close_transfer.modality_gap.adapter_fitting.for_training import TrainingNoise
from close_transfer.models.captioner import Captioner, build_captioner_config
from close_transfer.models.device import pick_device
from close_transfer.models.language_models import LanguageModel, reset_generation_config
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.models.prompt_format import TextFormat
from close_transfer.models.saving import load_weights, save_parts
from close_transfer.pipelines.captioned_training import (
    compute_identity,
    describe_stop,
    load_captioned_data,
    load_training_images,
    train_in_folder,
    train_or_load_tokenizer,
    write_summary,
)
from close_transfer.pipelines.console import describe_next_command
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.build_network import assemble_network
from close_transfer.training.captioner_objective import CaptionerObjective
from close_transfer.training.pretraining_folder import (
    PretrainingState,
    check_pretraining_folder,
    find_resumed_checkpoint,
)
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.runs import write_run
from close_transfer.training.trainer import Outcome, Trainer, count_steps
from close_transfer.training.training_data import TrainingData, collect_facts

_SUMMARY, _MODEL = "captioner.json", "model"


@dataclass(frozen=True)
class _Plan:
    """Settings of the pretraining, those of the run that it becomes, and the fingerprint that a resumed one must share."""

    config: TrainCaptionerConfig
    run_settings: TrainConfig
    data: TrainingData
    identity: str


def _build_captioner(config: TrainCaptionerConfig, tokenizer: PreTrainedTokenizerBase) -> Captioner:
    """Build the captioner with random weights, drawn by the seed."""
    torch.manual_seed(config.seed)
    special_ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    return Captioner(build_captioner_config(config, len(tokenizer), special_ids))


def train_captioner(config: TrainCaptionerConfig) -> tuple[Path, Outcome]:
    """Train a captioner, and write it as a run with its encoder.

    Raises:
        UserError: if data, settings or the output folder cannot be used, or if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    folder = check_pretraining_folder(config.output, config.resume, _SUMMARY, "run=")
    accelerator = build_accelerator(pick_device(config.device), config.train.precision, config.train.cuda_graphs)
    data = load_captioned_data(config)
    plan = _Plan(config, config.build_run_settings(folder / ENCODER_FOLDER), data, compute_identity(config, data))
    run = RunFolder(folder)
    with train_in_folder(run, accelerator):
        return folder, _train(plan, run, accelerator)


def _train(plan: _Plan, run: RunFolder, accelerator: Accelerator) -> Outcome:
    config, data = plan.config, plan.data
    last = find_resumed_checkpoint(run, config.resume, PretrainingState, plan.identity)
    tokenizer = train_or_load_tokenizer(config, data, last)
    model = _build_captioner(config, tokenizer)
    if last is not None:
        load_weights(model, last)
    training, validation = load_training_images(config, data, tokenizer, accelerator)
    objective = CaptionerObjective(
        training, validation, config.parallel_share, config.captioner.num_positions, config.train, config.seed
    )
    state = PretrainingState(identity=plan.identity)
    trainer = Trainer(model, tokenizer, objective, config.train, config.seed, run, accelerator, state, is_fused=True)
    counts = {
        "training_texts": len(training.texts),
        "training_images": len(training.pixels),
        "validation_texts": len(validation.texts),
        "vocabulary": len(tokenizer),
        "encoder_parameters": sum(p.numel() for p in model.vision.parameters()),
        "decoder_parameters": sum(p.numel() for p in model.decoder.parameters()),
    }
    if accelerator.is_main_process:
        show(_describe_plan(config, counts, count_steps(config.train, len(training.texts)), accelerator), flush=True)
    outcome = trainer.run(resume=last is not None)
    if accelerator.is_main_process:
        if not outcome.stopped_early:
            _write_run(plan, run, model, tokenizer)
        write_summary(run, _SUMMARY, config, counts, outcome)
    accelerator.wait_for_everyone()
    return outcome


def _write_run(plan: _Plan, run: RunFolder, model: Captioner, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write encoder and decoder as a run, whose `best` and `last` are the model at the end of the training."""
    settings, folder = plan.run_settings, run.path / _MODEL
    save_encoder(run.path / ENCODER_FOLDER, model.vision, model.config.vision)
    encoder = load_encoder(settings.clip, "cpu")
    reset_generation_config(model.decoder)
    lm = LanguageModel(model.decoder, tokenizer, TextFormat(tokenizer, "encoder-decoder"), None)
    network = assemble_network(settings, encoder, lm, None, TrainingNoise(NoiseScale(0.0, encoder.dim)).as_dict(), "T4")
    folder.mkdir(exist_ok=True)
    write_checksums(folder, save_parts(folder, network) + save_parts(folder, tokenizer))
    num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    facts = collect_facts(plan.data, encoder, network, "images") | {"num_trained_parameters": num_trained}
    # `latest` stays the newest run of the method itself.
    write_run(settings, run.path, facts)
    for link in ("best", "last"):
        replace_link(run.path / link, folder)


def _describe_plan(
    config: TrainCaptionerConfig, counts: dict[str, int], num_steps: int, accelerator: Accelerator
) -> str:
    sizes = config.captioner
    tokens = (sizes.image_size // sizes.patch_size) ** 2
    return "\n".join(
        [
            f"texts:    {counts['training_texts']:,} on {counts['training_images']:,} images to train on, "
            f"{counts['validation_texts']:,} for validation",
            f"encoder:  {counts['encoder_parameters']:,} parameters, {tokens} tokens of {sizes.image_size} pixels",
            f"decoder:  {counts['decoder_parameters']:,} parameters, {counts['vocabulary']:,} tokens",
            f"training: objective={config.objective}, {config.parallel_share:.0%} of texts at once, {num_steps:,} steps of "
            f"{config.train.batch_size} texts, {accelerator.device}",
            f"folder:   {config.output}",
        ]
    )


def main(config: TrainCaptionerConfig) -> int:
    """Train, print the outcome and the next command, and return the exit status."""
    folder, outcome = train_captioner(config)
    if PartialState().is_main_process:
        state = outcome.state
        lines = [f"trained {state.step:,} steps in {state.seconds:.0f} s"]
        if outcome.stopped_early:
            lines.append(describe_stop(folder))
        else:
            lines += [f"encoder: clip=captioner clip.model={folder}", f"run:  {folder}"]
            lines.append(describe_next_command(config.build_run_settings(folder / ENCODER_FOLDER), folder))
        show("\n".join(lines))
    return outcome.exit_status
