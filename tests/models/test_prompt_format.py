"""Prompts and targets as token ids."""

import pytest

from close_transfer.models import prompt_format
from close_transfer.models.prompt_format import TextFormat
from tests.families import FAMILIES, build_tokenizer

PROMPTS = ["", "Is it night?", "Where is the dog?", "", "Is it night?"]
TARGETS = ["A red dog sleeps in the snow.", "yes", "on the table", "", "yes"]
# Families whose tokenizers do not begin a word with a space by themselves.
NEED_A_SPACE = {"gpt2", "gptj", "opt"}


@pytest.mark.parametrize("family", FAMILIES)
def test_many_texts_have_the_ids_that_each_has_alone(family, monkeypatch):
    monkeypatch.setattr(prompt_format, "_AT_ONCE", 2)
    tokenizer = build_tokenizer(family, [*PROMPTS, *TARGETS])
    kind = "encoder-decoder" if family == "t5" else "chat" if tokenizer.chat_template else "plain"
    text_format = TextFormat(tokenizer, kind)
    prompts = text_format.encode_prompts(PROMPTS, 4)
    for prompt, (ids, was_cut) in zip(PROMPTS, prompts, strict=True):
        alone = tokenizer(prompt, add_special_tokens=kind == "encoder-decoder").input_ids if prompt else []
        after = tokenizer(text_format._after, add_special_tokens=False).input_ids if text_format._after else []
        expected = alone[:4] if kind != "encoder-decoder" or len(alone) < 4 else [*alone[:3], alone[-1]]
        assert (ids, was_cut) == ([*expected, *after], len(alone) > 4)
    targets = text_format.encode_targets(TARGETS, 5, PROMPTS)
    for target, prompt, (ids, was_cut) in zip(TARGETS, PROMPTS, targets, strict=True):
        if kind == "encoder-decoder":
            alone = tokenizer(target).input_ids
        else:
            joint = " " if prompt and family in NEED_A_SPACE and kind == "plain" else ""
            alone = [*tokenizer(joint + target, add_special_tokens=False).input_ids, text_format.end]
        assert (ids, was_cut) == (alone if len(alone) <= 5 else [*alone[:4], alone[-1]], len(alone) > 5)
    assert any(was_cut for _, was_cut in targets)
