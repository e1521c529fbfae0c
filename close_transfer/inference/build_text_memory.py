"""The text memory that images are projected onto at test time, without retraining (`models/text_memory.py`)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from close_transfer.config.decoding import TextMemoryConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import FloatArray
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.decontamination import exclude_overlap
from close_transfer.data.examples import sample
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import encode_texts
from close_transfer.encoders.precomputed import read_array
from close_transfer.inference.loading import check_encoder
from close_transfer.models.network import TransferNetwork
from close_transfer.models.text_memory import SEARCHES, Memory
from close_transfer.tasks import build_task
from close_transfer.tasks.loading import load_task_examples

_BLOCK = 65_536  # vectors that are adapted at once; bounds the memory


def _load_training_texts(trained: TrainConfig) -> list[str]:
    """Return the distinct texts that training encoded, without those that its settings excluded."""
    task = build_task(trained.task)
    examples, _ = exclude_overlap(trained, task.reads, load_task_examples(task.name, trained.data, "train").examples)
    return list(
        dict.fromkeys(text for example in task.prepare_for_training(examples).examples for text in example.texts)
    )


@torch.inference_mode()
def _adapt_vectors(model: TransferNetwork, gather: Callable[[slice], FloatArray], count: int) -> NDArray[np.float16]:
    """Return `count` text vectors as the adapters pass them to the mapper.

    There may be millions, so it adapts them block by block and keeps them in float16.

    Args:
        model: network that reads the vectors.
        gather: returns the raw vectors of a slice, shape (rows, dim).
        count: number of vectors.
    """
    adapted = np.empty((count, model.config.encoder["dim"]), dtype=np.float16)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        vectors = torch.from_numpy(np.array(gather(block), dtype=np.float32)).to(model.device)
        adapted[block] = model.adapt(vectors, "text").cpu().numpy()
    return adapted


def build_text_memory(
    config: TextMemoryConfig, trained: TrainConfig | None, model: TransferNetwork, device: str
) -> tuple[Memory | None, dict[str, Any]]:
    """Build the memory that `text_memory=` names.

    Args:
        config: settings of the memory.
        trained: settings of the run; None for a saved model, which does not hold them.
        model: network whose adapters the text vectors pass through.
        device: device of the encoder.

    Returns:
        The memory and its description for results and journals; (None, {}) if the settings name no memory.

    Raises:
        UserError: if the texts or vectors cannot be read, or the vectors have another width than the encoder's.
    """
    if config.text_memory is None:
        return None, {}
    dim = model.config.encoder["dim"]
    if config.text_memory_file is None:
        if trained is None:
            raise UserError(
                "text_memory=train: a saved model does not hold its training texts. Give its run, or "
                "text_memory=FILE.npy"
            )
        encoder = build_encoder(trained.clip, trained.data, device, texts_needed=True)
        check_encoder(encoder, model)
        texts = sample(_load_training_texts(trained), config.text_memory_size, trained.seed)
        matrix, rows = encode_texts(encoder, texts, config.embedding_cache)
        adapted = _adapt_vectors(model, lambda block: matrix.gather(rows[block]), len(rows))
    else:
        vectors = read_array(config.text_memory_file, "text_memory")[: config.text_memory_size]
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise UserError(
                f"text_memory={config.text_memory} holds vectors of shape {vectors.shape[1:]}, but the run's encoder "
                f"returns vectors of shape ({dim},). Encode the memory's texts with that encoder"
            )
        adapted = _adapt_vectors(model, vectors.__getitem__, len(vectors))
    memory: Memory = SEARCHES[config.text_memory_search](adapted, config.text_memory_temperature)
    facts = {
        "text_memory": config.text_memory,
        "num_texts": len(adapted),
        "temperature": config.text_memory_temperature,
        "search": config.text_memory_search,
        # The adapted vectors stand for texts, encoder and adapters: a change of any of these starts a new journal.
        "fingerprint": fingerprint(
            adapted[start : start + _BLOCK].tobytes() for start in range(0, len(adapted), _BLOCK)
        ),
    }
    return memory, facts
