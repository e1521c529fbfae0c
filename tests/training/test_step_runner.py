"""Steps of a training, compared with the loop that they replaced (benchmarks/reference_loop.py)."""

import copy

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from benchmarks.reference_loop import ReferenceLoop
from close_transfer.data.examples import Example
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.accelerator import build_optimizer
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective
from tests.conftest import small_config
from tests.golden.record import DIM, TEXTS, build_fixed_network, fixed_values

RATE, SEED = 0.01, 3
PROMPTS = ["what is it", "", "where is the boat", "what"]
TARGETS = [(TEXTS[0], TEXTS[1]), (TEXTS[1],), (TEXTS[2], TEXTS[3], TEXTS[0]), (TEXTS[3],)]
BATCHES = [np.array([0, 1, 2, 3]), np.array([2, 0]), np.array([3, 1, 0])]


def build_reference(network, matrix, text_format, accelerator):
    """The loop on token ids that are made one by one."""
    prompts = [text_format.encode_prompt(prompt, 16)[0] if prompt else [] for prompt in PROMPTS]
    targets = [
        [text_format.encode_target(target, 32, prompt)[0] for target in group]
        for group, prompt in zip(TARGETS, PROMPTS, strict=True)
    ]
    padding, vectors = text_format.tokenizer.pad_token_id, matrix.gather(np.arange(4))
    return ReferenceLoop(
        network, vectors, prompts, targets, accelerator, padding=padding, seed=SEED, learning_rate=RATE
    )


def build_steps(network, matrix, text_format, accelerator):
    examples = [
        Example(str(row), (TEXTS[row],), prompt=prompt, targets=targets)
        for row, (prompt, targets) in enumerate(zip(PROMPTS, TARGETS, strict=True))
    ]
    scenes = SceneVectors(matrix, np.arange(4), np.arange(5))
    tokenized = TokenizedExamples(examples, scenes, text_format, 16, 32, lowercase_targets=False)
    config = small_config().train
    optimizer = build_optimizer(network, RATE, 0.0, accelerator.device, uses_graphs=False)
    objective = TransferObjective(tokenized, tokenized, "text", config, SEED)
    return StepRunner(network, optimizer, accelerator, objective, config)


def test_steps_have_the_losses_and_weights_of_the_reference_loop():
    network, tokenizer = build_fixed_network()  # with noise
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    parts = (
        EmbeddingMatrix([fixed_values(torch.Size([4, DIM]), 3).numpy()]),
        TextFormat(tokenizer, "encoder-decoder"),
        Accelerator(cpu=True),
    )
    other = copy.deepcopy(network)
    reference, steps = build_reference(other, *parts), build_steps(network, *parts)
    for step, rows in enumerate(BATCHES):
        steps.run(step, rows, RATE)
        assert steps.look()["loss"] == pytest.approx(reference.step(step, rows), rel=1e-5)
    weights, expected = (torch.nn.utils.parameters_to_vector(each.parameters()) for each in (network, other))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-4)
