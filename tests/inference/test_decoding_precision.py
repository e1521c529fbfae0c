"""Decoding in bf16, compared with fp32."""

import copy

import numpy as np
import pytest
import torch

from close_transfer.core.errors import UserError
from close_transfer.inference import decoding_precision
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_precision import decode_in, resolve_decoding_precision
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.model_inputs import check_precision
from tests.families import tiny_family
from tests.inference.test_beam_search import VOCABULARY, build_lm
from tests.models.test_language_models import ANSWERS, EXAMPLES, StandInScenes, built, learned

LABELS = ("red", "two dogs", "a boat")


class CountedProducts(torch.utils._python_dispatch.TorchDispatchMode):
    """Mode that remembers the data types of matrix products, and the width of each result."""

    def __init__(self):
        super().__init__()
        self.products = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.name() in ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear"):
            self.products.add((result.dtype, result.shape[-1]))
        return result


@pytest.fixture(scope="module", params=["t5", "gpt2"])
def family(request, tmp_path_factory):
    texts = [part for answer in ANSWERS for part in answer]
    return built(tiny_family(request.param, tmp_path_factory.mktemp("lm"), texts))


@pytest.fixture(scope="module")
def parts(family):
    return family[0].eval(), family[1].tokenizer


def answer(model, tokenizer, **settings):
    decoder = Decoder(model, tokenizer, Decoding(**{"num_beams": 3, **settings}), 8, "text")
    ids, prompts = [example.id for example in EXAMPLES], [example.prompt for example in EXAMPLES]
    return decoder.predict(ids, StandInScenes().__getitem__, prompts, LABELS), decoder


@pytest.mark.slow
def test_a_trained_model_writes_the_same_texts_with_nearly_the_same_scores(family):
    model, lm = copy.deepcopy(family[0]), family[1]
    learned(model, lm)
    for settings in ({}, {"num_beams": 1}, {"num_beams": 1, "top_p": 0.9, "temperature": 0.01}):
        full, _ = answer(model, lm.tokenizer, **settings)
        half, _ = answer(model, lm.tokenizer, **settings, precision="bf16")
        assert [each.candidates for each in full] == [each.candidates for each in half]
        for one, other in zip(full, half, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, rtol=0.05, atol=0.01)


def test_labels_have_nearly_the_same_scores(parts):
    full, half = (answer(*parts, precision=precision)[0] for precision in ("fp32", "bf16"))
    for one, other in zip(full, half, strict=True):
        assert one.label_scores != other.label_scores
        np.testing.assert_allclose(one.label_scores, other.label_scores, rtol=0.01)


def test_products_are_bf16_and_the_logits_are_not(parts):
    model, tokenizer = parts
    vocabulary = model.lm.get_output_embeddings().weight.shape[0]
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with CountedProducts() as counted:
            answer(model, tokenizer, precision=precision)
        assert {kind for kind, width in counted.products if width == vocabulary} == {torch.float32}
        others = {kind for kind, width in counted.products if width != vocabulary}
        assert others == {torch.float32, dtype}, "contexts are read in fp32"


@torch.inference_mode()
def test_fp32_is_as_it_is_without_this_setting(parts):
    model, _ = parts
    vectors, none = torch.from_numpy(StandInScenes().vectors), torch.zeros(8, 0, dtype=torch.long)
    plain, head = model.read(vectors, none, none, "text").states, model.lm.get_output_embeddings()
    with decode_in("fp32", model.lm):
        assert torch.equal(model.read(vectors, none, none, "text").states, plain)
        assert "forward" not in vars(head)
    with decode_in("bf16", model.lm):
        assert not torch.equal(model.read(vectors, none, none, "text").states, plain)
    assert "forward" not in vars(head)


@torch.inference_mode()
def test_a_captioners_logits_are_not_bf16_either():
    lm = build_lm("captioner", 0)
    given = {"encoder_outputs": (torch.randn(1, 3, 32),), "decoder_input_ids": torch.ones(1, 2, dtype=torch.long)}
    with CountedProducts() as counted, decode_in("bf16", lm):
        logits = lm(**given).logits
    assert logits.dtype == torch.float32
    assert {kind for kind, width in counted.products if width == VOCABULARY} == {torch.float32}
    assert torch.bfloat16 in {kind for kind, _ in counted.products}


@torch.inference_mode()
def test_blocks_may_be_nested_and_an_error_leaves_no_trace(parts):
    head = parts[0].lm.get_output_embeddings()
    with pytest.raises(RuntimeError), decode_in("bf16", parts[0].lm):
        outer = vars(head)["forward"]
        with decode_in("bf16", parts[0].lm):
            pass
        assert vars(head)["forward"] is outer
        raise RuntimeError
    assert "forward" not in vars(head)


def test_a_journal_of_another_precision_is_not_continued(parts):
    assert answer(*parts)[1].key != answer(*parts, precision="bf16")[1].key


def test_auto_is_bf16_where_the_gpu_has_it(monkeypatch):
    assert [resolve_decoding_precision(setting, "cpu") for setting in ("auto", "fp32", "bf16")] == [
        "fp32",
        "fp32",
        "bf16",
    ]
    monkeypatch.setattr(decoding_precision, "has_bf16", lambda device: True)
    assert [resolve_decoding_precision(setting, "cuda") for setting in ("auto", "fp32")] == ["bf16", "fp32"]
    monkeypatch.setattr(decoding_precision, "has_bf16", lambda device: False)
    assert resolve_decoding_precision("auto", "cuda") == "fp32"
    with pytest.raises(UserError, match=r"this GPU does not compute in it\. Give fp32 or auto"):
        resolve_decoding_precision("bf16", "cuda")
    with pytest.raises(UserError, match=r"precision=fp16 is unknown\. Give one of auto, fp32, bf16"):
        check_precision("fp16", "cpu")
