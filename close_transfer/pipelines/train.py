"""Training of a run: load, encode, fit the adapters, build the network, and start the training loop."""

from contextlib import ExitStack
from pathlib import Path

import torch
from accelerate import PartialState

from close_transfer.config.choices import InputModality
from close_transfer.config.train import TrainConfig
from close_transfer.core.console import show
from close_transfer.encoders.build import build_encoder
from close_transfer.modality_gap.adapter_fitting.for_training import (
    TrainingNoise,
    choose_noise,
    load_or_compute_statistics,
    summarize_statistics,
)
from close_transfer.models.device import pick_device
from close_transfer.pipelines import console
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.build_network import build_network, check_prompt_lengths, load_last_network
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.runs import DATA_REGIMES, check_is_new, choose_folder, reserve_folder, start_run
from close_transfer.training.trainer import Outcome, Trainer
from close_transfer.training.training_data import collect_facts, load_training_data
from close_transfer.training.transfer_objective import TransferObjective


def train(config: TrainConfig, input_modality: InputModality) -> tuple[Path, Outcome]:
    """Train a model in a new run folder, or resume a run, and return the folder and the outcome.

    Args:
        config: settings of the run.
        input_modality: "text" trains on vectors of texts and opens no image; "image" trains on vectors of the images
            of the same examples, whose default noise is 0.

    Raises:
        UserError: if the user can correct the cause.
    """
    # 1. The device, and the folder of the run.
    device = pick_device(config.device)
    accelerator = build_accelerator(device, config.train.precision, config.train.cuda_graphs)
    path, is_begun = choose_folder(config)
    folder = RunFolder(path)

    # 2. The training data, as vectors.
    data = load_training_data(config, input_modality)
    encoder = build_encoder(config.clip, config.data, device, texts_needed=input_modality == "text")
    if accelerator.is_main_process:
        console.warn_about_encoder(config.clip, config.data)
    with ExitStack() as locks:
        if is_begun:  # lock first, so that no other process overwrites its checkpoint
            locks.enter_context(folder.lock_for_all_processes(accelerator))
        with accelerator.main_process_first():  # the others read the main process's vectors from the cache
            scenes = data.encode(encoder, config.embedding_cache)

        # 3. The network, with its adapters and their noise: from the last checkpoint, or new.
        # A run that was killed before its first checkpoint starts again. A folder named by the time may be another job's.
        resumes = (is_begun or config.output is not None) and folder.has_checkpoint
        if resumes:
            network, tokenizer = load_last_network(folder)
            noise = TrainingNoise.from_dict(network.config.noise, network.config.encoder["dim"])
        else:
            statistics = load_or_compute_statistics(config, encoder, scenes[0], input_modality, data.scenes)
            noise = choose_noise(config, input_modality, encoder, data.scenes, data.training.examples, statistics)
            torch.manual_seed(config.seed)  # for the initial weights
            summary = summarize_statistics(statistics)
            data_regime = max(DATA_REGIMES[input_modality], noise.data_regime)
            network, tokenizer = build_network(
                config, encoder, data.tokenizer_texts, statistics, summary, noise.as_dict(), data_regime
            )

        # 4. Prompts and targets as token ids.
        training, validation = data.tokenize(config.task, tokenizer, network.config.text_format["kind"], scenes)
        check_prompt_lengths(config, network, scenes[0], (training, validation))
        validation_input = console.describe_validation_input(data, noise)

        # 5. The folder of a new run, created only now, so that an error above leaves nothing behind.
        if not is_begun:
            folder = RunFolder(reserve_folder(config, path, accelerator))
            locks.enter_context(folder.lock_for_all_processes(accelerator))
            if accelerator.is_main_process:
                check_is_new(folder.path)  # again, because another process may have trained there in the meantime
        if accelerator.is_main_process:
            console.print_plan(config, data, encoder, noise, network, device, folder.path, resumes)
            console.print_cut_texts(data, encoder, training)
            if not is_begun:
                start_run(config, folder.path, collect_facts(data, encoder, network, validation_input))

        # 6. The training loop.
        training.hold_vectors_on(accelerator.device)
        validation.hold_vectors_on(accelerator.device)
        objective = TransferObjective(training, validation, input_modality, config.train, config.seed)
        trainer = Trainer(network, tokenizer, objective, config.train, config.seed, folder, accelerator)
        return folder.path, trainer.run(resumes)


def main(config: TrainConfig, input_modality: InputModality) -> int:
    """Train, print the run's folder and the next command, and return the exit status."""
    folder, outcome = train(config, input_modality)
    script = "train_text_only" if input_modality == "text" else "train_on_images"
    if PartialState().is_main_process:
        show(console.describe_training(config, folder, outcome, script))
    return outcome.exit_status if outcome.stopped_early else 0
