"""The memory of texts that images are projected on at test time, without retraining (`models/text_memory.py`)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from close_transfer.config.decoding import TextMemoryConfig
from close_transfer.config.train import TrainConfig
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

_BLOCK = 65_536  # vectors that are adapted at once


def _load_training_texts(trained: TrainConfig) -> list[str]:
    """The distinct texts that training fed to the encoder, without those that it was told to leave out."""
    task = build_task(trained.task)
    examples, _ = exclude_overlap(trained, task.reads, load_task_examples(task.name, trained.data, "train").examples)
    return list(
        dict.fromkeys(text for example in task.prepare_for_training(examples).examples for text in example.texts)
    )


@torch.inference_mode()
def _adapt_vectors(
    model: TransferNetwork, gather: Callable[[slice], NDArray[np.floating]], count: int
) -> NDArray[np.float16]:
    """`count` vectors as the mapper would be fed them, as texts; block by block, as they may be millions."""
    adapted = np.empty((count, model.config.encoder["dim"]), dtype=np.float16)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        vectors = torch.from_numpy(np.array(gather(block), dtype=np.float32)).to(model.device)
        adapted[block] = model.adapter(vectors, "text").cpu().numpy()
    return adapted


def build_text_memory(
    config: TextMemoryConfig, trained: TrainConfig | None, model: TransferNetwork, device: str
) -> tuple[Memory | None, dict[str, Any]]:
    """The memory that `text_memory=` names, and what to say of it in results and journals; None where there is none.

    Args:
        config: which memory.
        trained: settings of the run; None where there is none, but a saved model.
        model: whose adapters the texts go through.
        device: of the encoder.

    Raises:
        UserError: if the texts or vectors cannot be had, or are of another width.
    """
    if config.text_memory is None:
        return None, {}
    dim = model.config.encoder["dim"]
    if config.text_memory_file is None:
        if trained is None:
            raise UserError(
                "text_memory=train: the training texts are not with a saved model; give its run, or text_memory=FILE.npy"
            )
        encoder = build_encoder(trained.clip, trained.data, device, texts_needed=True)
        check_encoder(encoder, model)
        texts = sample(_load_training_texts(trained), config.text_memory_size, trained.seed)
        table = encode_texts(encoder, texts, config.embedding_cache)
        rows = np.array([table.row_of[text] for text in texts], dtype=np.int64)
        adapted = _adapt_vectors(model, lambda block: table.gather(rows[block]), len(rows))
    else:
        vectors = read_array(config.text_memory_file, "text_memory")[: config.text_memory_size]
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise UserError(
                f"text_memory={config.text_memory}: vectors of shape {vectors.shape[1:]}, but the run's encoder gives one of width "
                f"{dim}; encode the memory's texts with that encoder"
            )
        adapted = _adapt_vectors(model, vectors.__getitem__, len(vectors))
    memory: Memory = SEARCHES[config.text_memory_search](adapted, config.text_memory_temperature)
    facts = {
        "text_memory": config.text_memory,
        "num_texts": len(adapted),
        "temperature": config.text_memory_temperature,
        "search": config.text_memory_search,
        "fingerprint": fingerprint(
            adapted[start : start + _BLOCK].tobytes() for start in range(0, len(adapted), _BLOCK)
        ),
    }
    return memory, facts
