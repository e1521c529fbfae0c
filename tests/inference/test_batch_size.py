"""Number of examples that are decoded at once."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig

from close_transfer.inference.batch_size import choose_batch_size, count_bytes
from close_transfer.inference.decoding_settings import Decoding
from tests.golden.record import build_fixed_network


def test_it_follows_from_the_memory_of_the_gpu(monkeypatch):
    network, _ = build_fixed_network()
    decoding = Decoding(3)
    assert choose_batch_size(network, decoding) == 64, "on a CPU"
    monkeypatch.setattr(type(network), "device", torch.device("cuda"))
    per_example = count_bytes(network, decoding)
    # 2 layers, keys and values 16 wide, a cache of 10 tokens read and 3 beams of 12 tokens; 3 beams of the vocabulary
    assert per_example == 4 * (2 * 2 * 16 * (10 + 36) + 4 * 3 * network.lm.config.vocab_size)
    for memory, expected in ((4 * 100 * per_example, 64), (4 * 10**6 * per_example, 512), (1, 1)):
        properties = SimpleNamespace(total_memory=memory)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, p=properties: p)
        assert choose_batch_size(network, decoding) == expected


@pytest.mark.parametrize("num_return", [1, 8])
def test_samples_count_as_branches(num_return):
    network, _ = build_fixed_network()
    one = count_bytes(network, Decoding(1))
    sampled = count_bytes(network, Decoding(1, num_return=num_return, top_p=0.9))
    assert (sampled > one) == (num_return > 1)


@pytest.mark.parametrize("family", ["t5", "gpt2", "bart", "gemma3", "mamba"])
def test_sizes_of_all_families_are_found(family):
    task = {"max_prompt_tokens": 4, "max_target_tokens": 8}
    network = SimpleNamespace(
        lm=SimpleNamespace(config=AutoConfig.for_model(family)), config=SimpleNamespace(task=task, mapper={})
    )
    assert count_bytes(network, Decoding(2)) > count_bytes(network, Decoding(1)) > 0
