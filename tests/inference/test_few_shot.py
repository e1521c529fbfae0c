"""What a frozen language model answers after answered questions, and what its prefix looks like to it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from close_transfer.core.errors import UserError
from close_transfer.inference.few_shot import FewShot, Shot, build_prompts
from close_transfer.inference.prefix_words import find_nearest_words
from close_transfer.models.prompt_format import TextFormat
from tests.families import tiny_family
from tests.models.test_language_models import DIM, built

QUESTIONS = ["Is it night?", "How many dogs are there?", "What is the colour of the boat?"]
WORDS = [*QUESTIONS, "yes", "two", "blue", "question: answer:"]


def shot(number, answer=""):
    vector = np.random.default_rng(number).standard_normal(DIM, dtype=np.float32)
    return Shot(vector, QUESTIONS[number % 3], answer)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(1)
    return built(tiny_family("gpt2", tmp_path_factory.mktemp("lm"), WORDS), tuning="frozen")


def test_prompts_of_different_lengths_are_answered_as_each_alone(model):
    network, lm = model
    answerer = FewShot(network, lm.tokenizer)
    prompts = [[shot(0)], [shot(1, "yes"), shot(2, "two dogs"), shot(3)], [shot(4, "blue"), shot(5)]]
    assert answerer.answers(prompts) == [answerer.answers([prompt])[0] for prompt in prompts]


def test_what_stands_in_front_is_read(model):
    network, lm = model
    answerer = FewShot(network, lm.tokenizer)
    read = []
    generate = network.conditioning.generate

    def recorded(lm, context, **settings):
        read.append(context)
        return generate(lm, context, **settings)

    network.conditioning.generate = recorded
    try:
        answerer.answers([[shot(0)]])
        answerer.answers([[shot(1, "yes"), shot(0)]])
    finally:
        del network.conditioning.generate
    alone, behind = (one.states[0] for one in read)
    torch.testing.assert_close(behind[-len(alone) :], alone)  # the question itself is the same
    ids = lm.tokenizer("question: How many dogs are there? answer: yes").input_ids
    expected = network.lm.get_input_embeddings()(torch.tensor(ids))
    torch.testing.assert_close(behind[4 : 4 + len(ids)], expected)  # behind the four tokens of its image


@pytest.mark.parametrize(("family", "begin"), [("gpt2", None), ("opt", "</s>"), ("llama", "<s>")])
def test_a_prompt_begins_as_the_family_begins_its_texts_once(family, begin, tmp_path):
    network, lm = built(tiny_family(family, tmp_path / "lm", WORDS), tuning="frozen")
    read = []
    network.conditioning.generate = lambda model, context, **settings: read.append(context) or _nothing(settings)
    FewShot(network, lm.tokenizer).answers([[shot(1, "yes"), shot(0)]])
    ids = lm.tokenizer("question: How many dogs are there? answer: yes", add_special_tokens=False).input_ids
    first = [] if begin is None else [lm.tokenizer.convert_tokens_to_ids(begin)]
    embeddings = network.lm.get_input_embeddings()
    states = read[0].states[0]
    torch.testing.assert_close(states[: len(first)], embeddings(torch.tensor(first, dtype=torch.long)))
    torch.testing.assert_close(states[len(first) + 4 :][: len(ids)], embeddings(torch.tensor(ids)))


def _nothing(settings):
    return SimpleNamespace(sequences=torch.full((1, 1), settings["eos_token_id"]))


@pytest.mark.parametrize(
    ("written", "max_words", "answer"),
    [
        ("yes two blue", None, "yes two blue"),
        ("yes two blue", 1, "yes"),
        ("yes question: Is it", None, "yes"),
        ("yes\ntwo", None, "yes"),
    ],
)
def test_an_answer_ends_where_something_else_begins(written, max_words, answer, model, monkeypatch):
    network, lm = model
    monkeypatch.setattr(TextFormat, "decode", lambda self, ids: [written])
    answerer = FewShot(network, lm.tokenizer, max_words=max_words)
    assert answerer.answers([[shot(0)]]) == [answer]


def test_a_language_model_in_16_bits_answers(tmp_path):
    network, lm = built(tiny_family("gptj", tmp_path / "lm", WORDS), tuning="frozen", dtype="bfloat16")
    assert len(FewShot(network, lm.tokenizer).answers([[shot(1, "yes"), shot(0)]])) == 1


def test_prompts_beyond_the_models_positions_are_refused(model):
    network, lm = model
    with pytest.raises(UserError, match=r"has 128 positions, but .* may take \d+\. Please give fewer shots"):
        FewShot(network, lm.tokenizer).answers([[shot(n, "yes") for n in range(20)]])


def test_shots_are_drawn_for_each_question_and_follow_from_the_seed():
    supports, asked = [shot(n, "yes") for n in range(20)], [shot(n) for n in range(30, 35)]
    prompts = build_prompts(supports, asked, 4, seed=0)
    assert [len(prompt) for prompt in prompts] == [5] * 5
    assert all(prompt[-1] is one for prompt, one in zip(prompts, asked, strict=True))
    assert all(len({id(one) for one in prompt}) == 5 for prompt in prompts)
    drawn = [[list(map(id, prompt)) for prompt in build_prompts(supports, asked, 4, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [list(map(id, prompt)) for prompt in build_prompts(supports, asked, 0, seed=0)] == [
        [id(one)] for one in asked
    ]


def test_a_model_with_an_encoder_is_refused(tmp_path):
    network, lm = built(tiny_family("t5", tmp_path / "lm", WORDS))
    with pytest.raises(UserError, match="needs a language model that is a decoder only"):
        FewShot(network, lm.tokenizer)


def test_the_nearest_words_of_a_prefix_are_those_it_was_made_of(model):
    network, lm = model
    embeddings = network.lm.get_input_embeddings().weight
    wanted = lm.tokenizer("yes two blue night", add_special_tokens=False).input_ids[:4]
    vectors = torch.randn(2, DIM)
    before = network.mapper.linear.weight.clone(), network.mapper.linear.bias.clone()
    with torch.no_grad():
        network.mapper.linear.weight.zero_()
        network.mapper.linear.bias.copy_(3 * embeddings[wanted].flatten())
    found = find_nearest_words(network, lm.tokenizer, vectors, "text", count=2)
    with torch.no_grad():
        network.mapper.linear.weight.copy_(before[0])
        network.mapper.linear.bias.copy_(before[1])
    assert [len(tokens) for tokens in found] == [4, 4]
    for tokens in found:
        assert [words[0].word for words in tokens] == [lm.tokenizer.decode([one]).strip() for one in wanted]
        assert all(
            words[0].cosine == pytest.approx(1, abs=1e-5) and words[0].cosine >= words[1].cosine for words in tokens
        )
    cosine = F.cosine_similarity(embeddings[wanted[0]], embeddings[wanted[1]], dim=0)
    assert abs(float(cosine.detach())) < 1
