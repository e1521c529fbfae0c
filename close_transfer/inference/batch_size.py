"""Number of examples that are decoded at once, by the memory of the device."""

import torch

from close_transfer.inference.decoding_settings import Decoding
from close_transfer.models.network import TransferNetwork

_ON_CPU = 64  # more examples at once are not faster on a CPU
# A step of few examples leaves a GPU idle, and one of more than 512 keeps even large ones busy.
_MOST_ON_GPU = 512
_SHARE = 0.25  # of a GPU's memory; the rest is for weights, for copies of a step, and for other programs
_FLOAT_BYTES = 4
_VOCABULARY_COPIES = 4  # logits, log-probabilities, their sums with the scores of the beams, and room to work


def choose_batch_size(network: TransferNetwork, decoding: Decoding) -> int:
    """Return the number of examples to decode at once: 64 on a CPU, on a GPU a power of two up to 512.

    It follows from the size of the GPU and not from what is free, so that an interrupted evaluation finds the same batches.
    """
    if network.device.type != "cuda":
        return _ON_CPU
    memory = torch.cuda.get_device_properties(network.device).total_memory
    most = int(memory * _SHARE / count_bytes(network, decoding))
    return max(1, min(_MOST_ON_GPU, 1 << (most.bit_length() - 1) if most else 1))


def count_bytes(network: TransferNetwork, decoding: Decoding) -> int:
    """Return about how many bytes the decoding of an example takes at most: keys, values and scores of the vocabulary."""
    config, task = network.lm.config, network.config.task
    if not hasattr(config, "hidden_size"):  # of a language model that is part of another model
        config = config.get_text_config(decoder=True)
    num_branches = max(decoding.num_beams, decoding.num_return)
    num_read = task["max_prompt_tokens"] + network.config.mapper.get("num_tokens", 1)
    num_written = num_branches * task["max_target_tokens"]
    heads = getattr(config, "num_attention_heads", 0)  # recurrent models have none, and keep less
    width = max(config.hidden_size, heads * (getattr(config, "d_kv", None) or 0))
    layers = getattr(config, "num_decoder_layers", None) or config.num_hidden_layers
    cache = 2 * layers * width * (num_read + num_written)
    return _FLOAT_BYTES * (cache + _VOCABULARY_COPIES * num_branches * config.vocab_size)
