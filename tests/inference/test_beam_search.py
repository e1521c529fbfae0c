"""Beam search over trees of tokens writes what transformers' `generate` writes, with the same scores."""

import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from close_transfer.inference import label_scores
from close_transfer.inference.beam_search import SearchSettings, find_candidates, search_beams
from close_transfer.inference.label_scores import score_labels, score_many_labels, score_rows
from close_transfer.models.captioner import CaptionerDecoderConfig
from close_transfer.models.language_models import reset_generation_config
from close_transfer.models.lm_wrappers import Context, build_lm_wrapper
from close_transfer.models.token_trees import build_token_tree, has_token_tree
from tests.families import FAMILIES

END, PADDING, MAX_TOKENS, VOCABULARY = 2, 0, 15, 203
_CAPTIONER = {"width": 32, "depth": 2, "heads": 4, "num_positions": 16}
# Families that have trees of tokens; a captioner's decoder is not among those that a user can name.
TREE_FAMILIES = FAMILIES | {CaptionerDecoderConfig.model_type: (CaptionerDecoderConfig.model_type, _CAPTIONER)}
NEAR = 1e-5  # differences of scores that are due to the order of sums
# Addend of the end token's logit with which some texts end early, because logits of random models differ in size.
END_BIAS = dict.fromkeys(TREE_FAMILIES, 0.7) | {"t5": 8.0, "opt": 0.2, "captioner": 4.0}


def build_lm(family, seed, end_bias=0.0):
    """A model whose distributions are far from even; a bias makes texts end early."""
    torch.manual_seed(seed)
    kind, sizes = TREE_FAMILIES[family]
    start = {"decoder_start_token_id": 0} if kind in ("t5", "captioner") else {"bos_token_id": 1}
    config = AutoConfig.for_model(kind, **sizes, **start, vocab_size=VOCABULARY, eos_token_id=END, pad_token_id=PADDING)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    lm = auto.from_config(config).eval()
    with torch.no_grad():
        if kind == "captioner":
            torch.nn.init.normal_(lm.head.weight, std=0.1)  # it starts at zero
        for parameter in lm.parameters():
            parameter *= 3 if parameter.dim() > 1 else 1
        head = lm.get_output_embeddings()
        head.bias = torch.nn.Parameter(end_bias * F.one_hot(torch.tensor(END), VOCABULARY).float())
    reset_generation_config(lm)
    return lm


def build_context(lm, num_scenes=7, length=9):
    """Contexts of different lengths, padded as each kind of model reads them."""
    states = torch.randn(num_scenes, length, lm.get_input_embeddings().weight.shape[1])
    lengths, places = torch.randint(2, length + 1, (num_scenes, 1)), torch.arange(length)
    mask = places < lengths if lm.config.is_encoder_decoder else places >= length - lengths
    return Context(states, mask.long())


@torch.inference_mode()
def generate(lm, context, num_beams, num_return):
    conditioning = build_lm_wrapper(lm.config.is_encoder_decoder)
    output = conditioning.generate(
        lm, context, max_new_tokens=MAX_TOKENS, num_beams=num_beams, num_return_sequences=num_return, do_sample=False,
        output_scores=num_beams > 1, output_logits=num_beams == 1, pad_token_id=PADDING, eos_token_id=END,
        use_cache=lm.config.model_type != "captioner",  # whose cache is ours, so it cannot check itself
    )  # fmt: skip
    texts = cut(conditioning.extract_generated(output))
    if num_beams > 1:
        return texts, output.sequences_scores
    steps = lm.compute_transition_scores(output.sequences, output.logits, normalize_logits=True)
    lengths = [len(text) for text in texts]
    return texts, torch.stack([row[:length].mean() for row, length in zip(steps, lengths, strict=True)])


@torch.inference_mode()
def search(lm, context, num_beams, num_return):
    texts, scores = search_beams(lm, context, SearchSettings(num_beams, num_return, MAX_TOKENS, END, PADDING))
    return cut(texts.flatten(0, 1)), scores.flatten()


def cut(texts):
    return [text[: text.index(END) + 1] if END in text else text for text in texts.tolist()]


def compare(family, seed, end_bias, num_beams, num_return):
    """Check the scores; return the lengths of the texts, and the number of texts that differ."""
    lm = build_lm(family, seed, end_bias)
    context = build_context(lm)
    expected, expected_scores = generate(lm, context, num_beams, num_return)
    texts, scores = search(lm, context, num_beams, num_return)
    torch.testing.assert_close(scores, expected_scores, rtol=0, atol=NEAR)
    return [len(text) for text in texts], sum(a != b for a, b in zip(texts, expected, strict=True))


@pytest.mark.parametrize(("family", "num_beams"), [("t5", 3), ("t5", 1), ("gpt2", 3), ("gpt2", 1), ("captioner", 3)])
def test_texts_and_scores_are_those_of_generate(family, num_beams):
    lengths, num_different = compare(family, 0, END_BIAS[family], num_beams, min(num_beams, 2))
    assert num_different == 0
    assert num_beams == 1 or max(lengths) > min(lengths)


@pytest.mark.slow
@pytest.mark.parametrize("family", TREE_FAMILIES)
def test_texts_and_scores_are_those_of_generate_for_many_models(family):
    lengths, different = [], []
    for seed in range(2):
        for end_bias in (0.0, 0.5 * END_BIAS[family], END_BIAS[family], 2 * END_BIAS[family]):
            for num_beams, num_return in ((1, 1), (2, 2), (5, 3), (4, 1)):
                row_lengths, num_different = compare(family, seed, end_bias, num_beams, num_return)
                lengths += row_lengths
                different.append(num_different)
    # Scores agree everywhere, so a text that differs was a tie up to rounding.
    assert sum(different) <= 0.005 * len(lengths)
    assert min(lengths) == 1 and max(lengths) == MAX_TOKENS and len(set(lengths)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "gpt2", "llama", "captioner"])
def test_a_text_depends_on_its_own_scene_alone(family):
    lm = build_lm(family, 1, END_BIAS[family])
    context = build_context(lm)
    texts, scores = search(lm, context, 4, 2)
    for row in range(7):
        one_text, one_score = search(lm, context.select(torch.tensor([row])), 4, 2)
        assert one_text == texts[2 * row : 2 * row + 2]
        torch.testing.assert_close(one_score, scores[2 * row : 2 * row + 2], rtol=0, atol=NEAR)


@pytest.mark.parametrize("vocabulary", [9, 64, 130, 1000])
@pytest.mark.parametrize("num_beams", [1, 5])
def test_candidates_are_the_highest_of_all(vocabulary, num_beams):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(4, num_beams, vocabulary, generator=generator)
    logits[0] = logits[0].round()  # many ties
    scores = -torch.rand(4, num_beams, generator=generator)
    number = 2 * num_beams
    best, beams, ids = find_candidates(logits, scores, number)
    everything = (logits.log_softmax(dim=-1) + scores[..., None]).flatten(1)
    assert torch.equal(best, everything.topk(number).values)
    places = beams * vocabulary + ids
    assert torch.equal(everything.gather(1, places), best)
    assert all(len(set(row)) == number for row in places.tolist()), "no token twice, although some are equal"


def test_a_greedy_step_takes_the_first_of_equal_tokens():
    _, _, ids = find_candidates(torch.zeros(1, 1, 200), torch.zeros(1, 1), 1)
    assert ids.tolist() == [[0]]


def test_a_greedy_step_takes_the_highest_logit_although_log_probabilities_round_to_equal_ones():
    logits = torch.zeros(1, 1, 200)
    logits[..., 7] = 1e-8
    assert find_candidates(logits, torch.zeros(1, 1), 1)[2].tolist() == [[7]]


def test_there_may_be_more_beams_than_tokens(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "VOCABULARY", 12)
    lengths, num_different = compare("gpt2", 0, END_BIAS["gpt2"], 20, 20)
    assert num_different == 0
    assert len(set(lengths)) > 5


@pytest.mark.parametrize("family", ["t5", "gpt2", "captioner"])
def test_scores_of_labels_are_those_of_separate_rows(family, monkeypatch):
    lm = build_lm(family, 3)
    context = build_context(lm, num_scenes=4)
    one, other = ((5, 6, END), (5, 7, 8, END), (9, END)), ((6, END), (7, 8, 5, END), (END,))
    labels = [one, other, one, one]
    with torch.inference_mode():
        conditioning = build_lm_wrapper(lm.config.is_encoder_decoder)
        texts = [ids for scene in labels for ids in scene]
        expected = score_rows(lm, conditioning, context.repeat(3), texts).view(4, 3)
        torch.testing.assert_close(score_labels(lm, conditioning, context, labels), expected, rtol=0, atol=1e-4)
        for num_tokens in (1, 5, 100):
            monkeypatch.setattr(label_scores, "_FEWEST_TOKENS", num_tokens)
            monkeypatch.setattr(label_scores, "_MOST_LOGITS", 0)
            in_parts = score_many_labels(lm, conditioning, context, labels)
            torch.testing.assert_close(in_parts, expected, rtol=0, atol=1e-4)
    assert label_scores._split_labels(other, 5) == [[2, 0], [1]]


def test_other_families_are_left_to_transformers():
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    config = AutoConfig.for_model("bart", **sizes, **heads, vocab_size=20)
    assert not has_token_tree(AutoModelForSeq2SeqLM.from_config(config))
    sizes = FAMILIES["qwen2"][1] | {"vocab_size": 20, "use_sliding_window": True, "max_window_layers": 1}
    assert not has_token_tree(AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2", **sizes)))


def test_attention_that_reads_no_mask_of_branches_is_left_to_transformers():
    lm = build_lm("gpt2", 0)
    assert has_token_tree(lm)
    lm.config._attn_implementation = "flash_attention_2"
    assert not has_token_tree(lm)


@pytest.mark.parametrize("family", TREE_FAMILIES)
def test_a_step_reads_nothing_back_and_stays_on_the_gpu(family):
    """PyTorch's fake tensors know devices and shapes alone: reading a value or mixing devices raises."""
    with FakeTensorMode() as fake, torch.device("cuda"):
        lm = build_lm(family, 0)
        for module in lm.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to("cuda"))
        width = lm.get_input_embeddings().weight.shape[1]
        context = Context(torch.randn(4, 6, width), torch.ones(4, 6, dtype=torch.long))
        tree = build_token_tree(lm, context, torch.arange(5).repeat_interleave(3))
        logits = tree.extend(torch.ones(4, 3, dtype=torch.long), torch.ones(4, 3, 3, dtype=torch.bool))
        best, beams, ids = find_candidates(logits, torch.zeros(4, 3), 6)
        assert fake and {each.device.type for each in (logits, best, beams, ids)} == {"cuda"}
