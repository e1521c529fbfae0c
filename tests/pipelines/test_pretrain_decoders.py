"""A decoder trained on text from scratch: each token from those before it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from close_transfer.cli import compose_config
from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.pipelines.pretrain_lm import pretrain

TEXTS = [caption.text for scene in scenes("train", 25) for caption in captions(scene)]


@pytest.fixture(autouse=True)
def _texts():
    Path("texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))


SMALL_GPT2 = ["lm=gpt2-mini", "lm.vocab_size=400", "lm.config.n_embd=32", "lm.config.n_layer=1", "lm.config.n_head=2",
              "text=texts.txt", "output=lm", "batch_size=16", "warmup_steps=2", "log_every=1", "val_share=0.1",
              "device=cpu"]  # fmt: skip


def causal(*overrides):
    return compose_config("pretrain_lm", PretrainLmConfig, [*SMALL_GPT2, *overrides])


@pytest.mark.slow
def test_a_decoder_learns_each_token_from_those_before_it_the_end_included():
    pretrain(causal("epochs=30", "learning_rate=0.01"))
    entries = map(json.loads, Path("lm/training.jsonl").read_text().splitlines())
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    tokenizer, model = AutoTokenizer.from_pretrained("lm"), AutoModelForCausalLM.from_pretrained("lm")
    # What it says of itself agrees with transformers' own loss on a text between end tokens.
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(TEXTS[0].lower()).input_ids]])
    assert ids[0, -1] == tokenizer.eos_token_id
    with torch.no_grad():
        assert model(input_ids=ids, labels=ids).loss < 2.5  # a text it was trained on
        written = model.generate(ids[:, :1], attention_mask=ids[:, :1] * 0 + 1, max_new_tokens=120, do_sample=False)
    assert written[0, -1] == tokenizer.eos_token_id  # it ends by itself
    assert len(written[0]) > 5


def test_texts_longer_than_a_decoders_positions():
    with pytest.raises(UserError, match=r"max_tokens=64: the model has 32 positions.*at most 31"):
        pretrain(causal("lm.config.n_positions=32"))


@pytest.mark.parametrize("overrides", [["lm=gpt2-mini", "objective=denoise"], ["objective=causal"]])
def test_an_objective_of_the_other_architecture(overrides):
    with pytest.raises(UserError, match=r"objective=(denoise|causal)"):
        compose_config("pretrain_lm", PretrainLmConfig, ["text=texts.txt", "output=lm", *overrides])
