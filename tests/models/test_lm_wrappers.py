"""Logits of encoder-decoder models, compared with those that transformers computes from labels, to the bit."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.models.lm_wrappers import IGNORED, Context, EncoderDecoder
from close_transfer.training.train_step import sum_loss

SIZES = {
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 1, "decoder_start_token_id": 0},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 32},
}  # fmt: skip


@pytest.fixture(params=SIZES)
def lm(request):
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, vocab_size=40, **SIZES[request.param])
    return AutoModelForSeq2SeqLM.from_config(config).eval()


def test_logits_and_gradients_are_those_of_a_call_with_labels(lm):
    context = Context(torch.randn(3, 4, 16), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]))
    labels = torch.tensor([[5, 9, 3, 1], [7, 1, IGNORED, IGNORED], [2, 8, 1, IGNORED]])
    states = BaseModelOutput(last_hidden_state=context.states)
    results = []
    for compute in (
        lambda: lm(encoder_outputs=states, attention_mask=context.mask, labels=labels).logits,
        lambda: EncoderDecoder().compute_logits(lm, context, labels),
    ):
        lm.zero_grad()
        logits = compute()
        sum_loss(logits, labels).backward()
        results.append([logits, *(p.grad for p in lm.parameters() if p.grad is not None)])
    expected, found = results
    assert len(expected) == len(found) > 5
    assert all(map(torch.equal, expected, found))


def test_no_other_loss_is_computed(lm, monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("transformers computed a loss that nobody reads")

    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", refuse)
    context = Context(torch.randn(1, 2, 16), torch.ones(1, 2, dtype=torch.int64))
    assert EncoderDecoder().compute_logits(lm, context, torch.tensor([[5, 1]])).shape == (1, 2, 40)
