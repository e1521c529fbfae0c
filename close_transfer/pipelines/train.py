"""Puts the parts that a configuration names together, and hands them to the training loop."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator

from close_transfer.config.choices import InputModality
from close_transfer.config.components import PrecomputedConfig
from close_transfer.config.train import TrainConfig
from close_transfer.data.decontamination import exclude_overlap
from close_transfer.data.examples import Example, fingerprint_examples
from close_transfer.data.sources import load_examples
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.build import build_encoder, warn_about_encoder
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_text_scenes
from close_transfer.modality_gap.adapter_fitting.for_training import (
    TrainingNoise,
    choose_noise,
    load_or_compute_statistics,
    summarize_statistics,
)
from close_transfer.models.adapters import Statistics
from close_transfer.models.device import pick_device
from close_transfer.models.language_models import build_language_model
from close_transfer.models.lm_wrappers import check_positions
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.prompt_format import TextFormat
from close_transfer.pipelines.console import describe_training
from close_transfer.tasks import PreparedExamples, Task, build_task
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.checkpoints import RunFolder
from close_transfer.training.run_folder import DATA_REGIMES, choose_folder, start_run
from close_transfer.training.trainer import Outcome, Trainer, count_steps

_SEEN = {
    "T0": "text only, no image is opened",
    "T1": "text, and statistics of unpaired images",
    "T4": "text, and statistics of pairs",
}


@dataclass(frozen=True)
class _Data:
    """Examples for training and validation, with what to say about them."""

    scenes: Sequence[Example]
    training: PreparedExamples
    validation: PreparedExamples
    skipped: Counter[str]
    notes: tuple[str, ...]


def _load_data(config: TrainConfig, task: Task, input_modality: InputModality) -> _Data:
    opens_images = input_modality == "image" and not isinstance(config.clip, PrecomputedConfig)
    train, val = (
        load_examples(config.data, task.name, split, input_modality == "text", opens_images)
        for split in ("train", "val")
    )
    examples, num_leaks = exclude_overlap(config, train.examples)
    skipped = Counter(train.skipped)
    skipped.update(num_leaks)
    shaped, validation = task.for_training(examples), task.for_validation(val.examples)
    notes = [*train.notes, *shaped.notes, *validation.notes]
    notes += [f"{count:,} {reason} skipped" for reason, count in skipped.items()]
    return _Data(examples, shaped, validation, skipped, tuple(notes))


def _texts_for_tokenizer(examples: Sequence[Example]) -> list[str]:
    return [text for example in examples for text in (example.prompt, *example.targets) if text]


def _describe(
    config: TrainConfig,
    data: _Data,
    encoder: AnyEncoder,
    noise: TrainingNoise,
    input_modality: InputModality,
    model: TransferNetwork,
    device: str,
    folder: Path,
) -> str:
    num_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    steps = count_steps(config.train, len(data.training.examples))
    seen = "their images (the upper bound)" if input_modality == "image" else _SEEN[model.config.data_regime]
    lines = {
        "task": config.task.name,
        "data": f"{config.data.name}: {len(data.scenes):,} scenes, {len(data.training.examples):,} training examples, "
        f"{_validated(config, data)} for validation ({_validation_input(data, input_modality, noise)})",
        "sees": seen,
        "encoder": f"{encoder.name}, {encoder.dim} wide, frozen",
        "adapter": " → ".join(config.adapter.names),
        **noise.lines(),
        "model": f"{config.lm.name}, {config.mapper.name} mapper to {config.mapper.num_tokens} tokens, {num_parameters:,} parameters trained",
        "training": f"{steps:,} steps of {config.train.batch_size}, learning rate {config.train.learning_rate:g}, seed {config.seed}",
        "device": device,
        "output": str(folder),
    }
    lines |= {f"note {number}": note for number, note in enumerate(data.notes, start=1)}
    width = max(10, *(len(name) + 1 for name in lines))
    return "\n".join(f"  {name + ':':<{width}} {value}" for name, value in lines.items())


def _validated(config: TrainConfig, data: _Data) -> str:
    """How many examples are used for validation, and of how many if that is a draw."""
    there, most = len(data.validation.examples), config.train.max_val_examples
    return f"{there:,}" if there <= most else f"{most:,} of {there:,}"


def _validation_input(data: _Data, input_modality: InputModality, noise: TrainingNoise) -> str:
    if input_modality == "image":
        return "images of the same scenes"
    # Under noise, as an image's vector lies about as far from its captions' as the noise reaches.
    return data.validation.validation_input + (" under noise" if noise.scale.std else "")


def train(config: TrainConfig, input_modality: InputModality) -> tuple[Path, Outcome]:
    """Trains a run and gives its folder.

    Args:
        config: everything.
        input_modality: "text" feeds text vectors and opens no image; "image" feeds the vectors of the
            images of the same examples and changes nothing else.

    Raises:
        UserError: for whatever the user can mend.
    """
    transformers.utils.logging.disable_progress_bar()
    device = pick_device(config.device)
    if ":" in device:  # accelerate takes the current GPU
        torch.cuda.set_device(device)
    bf16 = config.train.precision == "bf16" or (config.train.precision == "auto" and device != "cpu")
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if bf16 else "no")
    path, begun = choose_folder(config)
    folder = RunFolder(path)
    task = build_task(config.task)
    if accelerator.is_main_process and (note := warn_about_encoder(config.clip, config.data)):
        print(note, file=sys.stderr)
    data = _load_data(config, task, input_modality)
    encoder = build_encoder(config.clip, config.data, device, texts_needed=input_modality == "text")
    with ExitStack() as held:
        if begun:
            _own(folder, accelerator, held)
        resumes = folder.has_checkpoint  # else a kill came before the first one
        scenes_of = encode_text_scenes if input_modality == "text" else encode_image_scenes
        with accelerator.main_process_first():
            scenes = [scenes_of(encoder, s.examples, config.embedding_cache) for s in (data.training, data.validation)]
        if resumes:  # a checkpoint holds what was fitted and chosen
            model, tokenizer, noise = _last_model(folder)
        else:
            statistics = load_or_compute_statistics(config, encoder, scenes[0], input_modality, data.scenes)
            noise = choose_noise(config, input_modality, encoder, data.scenes, data.training.examples, statistics)
            torch.manual_seed(config.seed)
            model, tokenizer = _new_model(config, data, encoder, noise, input_modality, statistics)
        if accelerator.is_main_process:
            print(f"{'resuming' if resumes else 'training'}:")
            print(_describe(config, data, encoder, noise, input_modality, model, device, folder.path), flush=True)
        text_format = TextFormat(tokenizer, model.config.text_format["kind"])
        training, validation = (
            TokenizedExamples(
                shaped.examples,
                vectors,
                text_format,
                config.task.max_prompt_tokens,
                config.task.max_target_tokens,
                config.task.lowercase_targets,
            )
            for shaped, vectors in zip((data.training, data.validation), scenes, strict=True)
        )
        longest = max(training.longest_prompt, validation.longest_prompt)
        _check_positions(config, model, scenes[0], longest)
        if accelerator.is_main_process:
            _report_cuts(encoder, data, training, input_modality)
        if not begun:
            _own(folder, accelerator, held)
            if accelerator.is_main_process:
                start_run(config, folder.path, _facts(data, encoder, input_modality, noise, model))
        trainer = Trainer(
            model, tokenizer, training, validation, input_modality, config.train, config.seed, folder, accelerator
        )
        return folder.path, trainer.run(resumes)


def _check_positions(config: TrainConfig, model: TransferNetwork, scenes: SceneVectors, longest_prompt: int) -> None:
    """Raises UserError where the longest prompt and a target have no place behind the vector's tokens."""
    prefix = model.mapper.tokens_a_vector * scenes.table.vectors_a_row + model.mapper.more_tokens
    before, written = len(model.config.text_format["before"]), config.task.max_target_tokens
    remedy = "give task.max_target_tokens, task.max_prompt_tokens or mapper.num_tokens a smaller value, or another language model"
    check_positions(model.lm, before + prefix + longest_prompt + written, remedy)


def _own(folder: RunFolder, accelerator: Accelerator, held: ExitStack) -> None:
    """Keeps other commands out of the folder for as long as `held` is open."""
    if accelerator.is_main_process:
        held.enter_context(folder.owned())
    accelerator.wait_for_everyone()


def _last_model(
    folder: RunFolder,
) -> tuple[TransferNetwork, transformers.PreTrainedTokenizerBase, TrainingNoise]:
    """The last model and tokenizer of a run, and the noise it was trained with."""
    last = folder.intact("last")
    model = TransferNetwork.from_pretrained(last)
    noise = TrainingNoise.from_dict(model.config.noise, model.config.encoder["dim"])
    return model, transformers.AutoTokenizer.from_pretrained(last), noise


def _new_model(
    config: TrainConfig,
    data: _Data,
    encoder: AnyEncoder,
    noise: TrainingNoise,
    input_modality: InputModality,
    statistics: Statistics,
) -> tuple[TransferNetwork, transformers.PreTrainedTokenizerBase]:
    """An untrained mapper with a new or pretrained language model, and its tokenizer."""
    lm = build_language_model(config.lm, _texts_for_tokenizer(data.training.examples))
    model_config = TransferConfig(
        encoder={
            "name": encoder.name,
            "dim": encoder.dim,
            "fingerprint": encoder.fingerprint,
            "config": config.clip.model_dump(mode="json"),
        },
        adapter=config.adapter.steps(),
        mapper=config.mapper.model_dump(),
        noise=noise.as_dict(),
        task=config.task.model_dump(),
        lm=lm.model.config.to_dict(),
        text_format={"kind": lm.format.kind, "before": list(lm.format.before)},
        base_model=lm.base_model,
        statistics=summarize_statistics(statistics),
    )
    model = TransferNetwork(model_config, lm.model, statistics)
    model.config.data_regime = max(DATA_REGIMES[input_modality], model.adapter.data_regime, noise.data_regime)
    return model, lm.tokenizer


def _report_cuts(encoder: AnyEncoder, data: _Data, tokenized: TokenizedExamples, input_modality: InputModality) -> None:
    texts = dict.fromkeys(t for e in data.training.examples for t in e.texts) if input_modality == "text" else {}
    if texts and (num_cut := encoder.count_cut(list(texts))):
        print(f"  note: {num_cut:,} of {len(texts):,} texts are longer than the encoder's context and were cut there")
    if tokenized.num_cut:
        print(
            f"  note: {tokenized.num_cut:,} prompts or targets were cut to task.max_prompt_tokens or task.max_target_tokens"
        )


def _facts(
    data: _Data, encoder: AnyEncoder, input_modality: InputModality, noise: TrainingNoise, model: TransferNetwork
) -> dict[str, Any]:
    """What results will say about the training data."""
    return {
        "data_regime": model.config.data_regime,
        "input_modality": input_modality,
        "validation_input": _validation_input(data, input_modality, noise),
        "num_examples": len(data.training.examples),
        "num_trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "num_skipped": data.skipped.total(),
        "skipped": dict(data.skipped),
        "data_fingerprint": fingerprint_examples(data.training.examples),
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
    }


def main(config: TrainConfig, input_modality: InputModality) -> int:
    """Train, print where the run is and what to type next; return the exit status."""
    folder, outcome = train(config, input_modality)
    script = "train_text_only" if input_modality == "text" else "train_on_images"
    print(describe_training(config, folder, outcome, script))
    return outcome.exit_status if outcome.stopped_early else 0
