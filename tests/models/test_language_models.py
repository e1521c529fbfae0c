"""Every family of language models learns eight answers by heart and gives them back, each in its own format.

Models are tiny and have random weights; their tokenizers are trained here, with the family's special tokens.
"""

import numpy as np
import pytest
import torch
from tokenizers import AddedToken
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, LlamaForCausalLM

from close_transfer.config.language_models import LoraConfig, PretrainedLM
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.models.language_models import build_language_model
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.batches import TokenizedExamples
from tests.families import FAMILIES, tiny_family
from tests.settings import make_settings

DIM = 16
WORDS = ["a red dog", "two cats in the snow"]
ANSWERS = [
    ("", "A red dog sleeps in the snow."),
    ("", "Two cats"),
    ("How many dogs are there?", "two"),
    ("Is it night?", "yes"),
    ("What is the colour of the boat behind the house?", "blue and white"),
    ("", "Nothing but grass, and a ball."),
    ("Where?", "on the table"),
    ("Is it night?", "no"),
]
EXAMPLES = [Example(str(n), ("scene",), prompt=p, targets=(t,)) for n, (p, t) in enumerate(ANSWERS)]


class StandInScenes:
    """Eight random vectors in place of an encoder's."""

    def __init__(self):
        self.vectors = torch.randn(len(EXAMPLES), DIM, generator=torch.Generator().manual_seed(0)).numpy()

    def __len__(self):
        return len(EXAMPLES)

    def __getitem__(self, rows):
        return self.vectors[rows]


def built(folder, **settings):
    torch.manual_seed(0)
    lm = build_language_model(make_settings(PretrainedLM, "lm/pretrained.yaml", name=str(folder), **settings), [])
    config = TransferConfig(
        encoder={"name": "x", "dim": DIM, "fingerprint": "f"},
        adapter=[{"name": "gaussian"}],
        mapper={"name": "linear", "num_tokens": 4, "num_constant_tokens": 0},
        noise={"std": 0.0},
        task={"name": "vqa", "max_prompt_tokens": 32, "max_target_tokens": 24, "num_beams": 2},
        lm=lm.model.config.to_dict(),
        text_format={"kind": lm.format.kind, "before": list(lm.format.before)},
        base_model=lm.base_model,
    )
    return TransferNetwork(config, lm.model), lm


def learned(model, lm, steps=150, rate=3e-3):
    examples = TokenizedExamples(EXAMPLES, StandInScenes(), lm.format, 32, 24, lowercase_targets=False)
    (batch,) = examples.make_parts(np.arange(len(EXAMPLES)), 1)
    inputs = batch.make_inputs("text", None)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    model.train()
    for _ in range(steps):
        loss = F.cross_entropy(model(**inputs).flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def said(model, tokenizer, num_beams=1, batch_size=8):
    decoder = Decoder(model, tokenizer, Decoding(num_beams), batch_size, "text")
    found = decoder.predict([e.id for e in EXAMPLES], StandInScenes().__getitem__, [e.prompt for e in EXAMPLES])
    return [prediction.text for prediction in found]


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    return request.param, tiny_family(request.param, tmp_path / "lm", [part for answer in ANSWERS for part in answer])


def test_eight_answers_are_learned_and_given_back(family):
    name, folder = family
    model, lm = built(folder)
    learned(model, lm)
    expected = [answer.lower() if name == "t5" else answer for _, answer in ANSWERS]  # its tokenizer is lower case
    assert said(model, lm.tokenizer) == expected
    assert said(model, lm.tokenizer, num_beams=3, batch_size=3) == expected


def test_padding_changes_nothing(family):
    _, folder = family
    model, lm = built(folder)
    examples = TokenizedExamples(EXAMPLES, StandInScenes(), lm.format, 32, 24, lowercase_targets=False)
    model.eval()

    def losses(rows):
        (batch,) = examples.make_parts(np.array(rows), 1)
        logits = model(**batch.make_inputs("text", None))
        lost = F.cross_entropy(logits.transpose(1, 2), batch.labels, ignore_index=IGNORED, reduction="none")
        return lost.sum(dim=1)

    with torch.no_grad():
        together = losses(range(8))
        alone = torch.cat([losses([row]) for row in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_likelihoods_of_labels_are_those_of_the_whole_text(family):
    name, folder = family
    if name == "t5":
        pytest.skip("read by an encoder, so there is no whole text")
    model, lm = built(folder)
    labels = ["yes", "no, never"]
    decoder = Decoder(model, lm.tokenizer, Decoding(1), input_modality="text")
    vectors = StandInScenes()[np.array([3])]
    scores = decoder.predict(["a"], lambda _: vectors, ["Is it night?"], labels)[0].label_scores
    with torch.no_grad():
        prefix = model.mapper(F.normalize(torch.from_numpy(vectors), dim=-1))
        embed = model.lm.get_input_embeddings()
        prompt, _ = lm.format.encode_prompt("Is it night?", 32)
        for label, score in zip(labels, scores, strict=True):
            target, _ = lm.format.encode_target(label, 24, "Is it night?")
            row = torch.cat(
                [embed(torch.tensor([list(lm.format.before)], dtype=torch.long)), prefix, embed(torch.tensor([[*prompt, *target]]))], dim=1
            )  # fmt: skip
            likely = model.lm(inputs_embeds=row).logits[0, -len(target) - 1 : -1].log_softmax(dim=-1)
            assert score == pytest.approx(float(likely[range(len(target)), target].sum()), abs=1e-3)


@pytest.mark.parametrize("train", ["lora", "frozen"])
@pytest.mark.parametrize("family", ["t5", "gpt2", "opt", "qwen3"], indirect=True)
def test_checkpoints_hold_what_was_trained_and_name_the_base(family, train, tmp_path):
    _, folder = family
    model, lm = built(folder, tuning=train, lora=LoraConfig(rank=4, alpha=8, dropout=0.0, layers=None))
    before = said(model, lm.tokenizer)
    learned(model, lm, steps=10)
    model.save_pretrained(tmp_path / "saved")
    weights = (tmp_path / "saved/model.safetensors").stat().st_size
    assert weights < (folder / "model.safetensors").stat().st_size / 2
    loaded = TransferNetwork.from_pretrained(tmp_path / "saved")
    assert said(loaded, lm.tokenizer) == said(model, lm.tokenizer) != before
    trained = {name for name, one in loaded.named_parameters() if one.requires_grad}
    assert trained == {name for name, one in model.named_parameters() if one.requires_grad}
    assert any(name.startswith("lm.") for name in trained) == (train == "lora")
    base = (AutoModelForSeq2SeqLM if lm.format.kind == "encoder-decoder" else AutoModelForCausalLM).from_pretrained(
        folder
    )
    next(base.parameters()).data[0] += 1
    base.save_pretrained(folder)
    with pytest.raises(UserError, match="has other weights than the language model in training"):
        TransferNetwork.from_pretrained(tmp_path / "saved")


def test_updates_are_kept_in_32_bits_whatever_the_base_is_in(tmp_path):
    lora = LoraConfig(rank=4, alpha=8, dropout=0.0, layers=None)
    model, _ = built(tiny_family("llama", tmp_path / "lm", WORDS), tuning="lora", lora=lora, dtype="bfloat16")
    dtypes = {one.requires_grad: one.dtype for one in model.lm.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    model.save_pretrained(tmp_path / "saved")
    again = TransferNetwork.from_pretrained(tmp_path / "saved")
    assert {one.dtype for name, one in again.lm.named_parameters() if "lora_" in name} == {torch.float32}


def test_the_token_that_closes_a_turn_ends_an_answer_though_no_list_names_it(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_family("gpt2", tmp_path / "lm", WORDS))
    tokenizer.add_tokens([AddedToken("<|end|>", special=True)])
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    assert TextFormat(tokenizer, "chat").end == tokenizer.convert_tokens_to_ids("<|end|>")


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    folder = tiny_family("gpt2", tmp_path / "lm", WORDS)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UserError, match=r"tokenizer"):
        built(folder)


def test_a_frozen_model_is_not_changed_and_drops_nothing(tmp_path):
    folder = tiny_family("gpt2", tmp_path / "lm", ["a b c"])
    model, lm = built(folder, tuning="frozen")
    weights = {name: one.clone() for name, one in model.lm.state_dict().items()}
    learned(model, lm, steps=3)
    assert model.training and not model.lm.training
    assert all(torch.equal(one, model.lm.state_dict()[name]) for name, one in weights.items())


def test_lora_reaches_the_layers_that_are_named(tmp_path):
    folder = tiny_family("llama", tmp_path / "lm", ["a b c"])
    model, _ = built(folder, tuning="lora", lora=LoraConfig(rank=2, alpha=4, dropout=0.0, layers=("v_proj",)))
    trained = [name for name, one in model.lm.named_parameters() if one.requires_grad]
    assert trained and all("v_proj" in name for name in trained)
    with pytest.raises(
        UserError, match=r"lm\.lora\.layers=v_proj,nowhere: .*no layer named nowhere\. Choose from: .*q_proj"
    ):
        built(folder, tuning="lora", lora=LoraConfig(rank=2, alpha=4, dropout=0.0, layers=("v_proj", "nowhere")))


@pytest.mark.parametrize("kind", [ImportError, ValueError])
def test_what_peft_refuses_is_told_in_its_own_words(tmp_path, kind):
    folder = tiny_family("llama", tmp_path / "lm", WORDS)

    def refuse(*_):
        raise kind("peft>=99 is required")

    with pytest.MonkeyPatch.context() as patched, pytest.raises(UserError, match=r"cannot be added.*peft>=99 is req"):
        patched.setattr(LlamaForCausalLM, "add_adapter", refuse)
        built(folder, tuning="lora", lora=LoraConfig(rank=2, alpha=4, dropout=0.0, layers=None))


def test_formats_put_each_familys_tokens_where_they_belong(tmp_path):
    def ids_around(name, **settings):
        _, lm = built(tiny_family(name, tmp_path / name, ["a dog", "Where?"]), **settings)
        prompt, _ = lm.format.encode_prompt("Where?", 32)
        target, _ = lm.format.encode_target("a dog", 32, "Where?")
        ids = lm.tokenizer.convert_ids_to_tokens
        return ids(lm.format.before), lm.tokenizer.decode(prompt), ids(target)[-1], lm.tokenizer.decode(target[:-1])

    assert ids_around("gpt2") == ([], "Where?", "<|endoftext|>", " a dog")
    assert ids_around("llama") == (["<s>"], "Where?", "</s>", "a dog")
    assert ids_around("opt") == (["</s>"], "Where?", "</s>", " a dog")
    before, prompt, end, target = ids_around("qwen3")
    assert before[0] == "<|im_start|>"
    assert (prompt, end, target) == (
        "Where?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_end|>",
        "a dog",
    )
    assert ids_around("qwen3", format="plain")[0] == []


def test_a_format_that_a_model_does_not_have_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"lm\.format=chat: the tokenizer has no chat template"):
        built(tiny_family("gpt2", tmp_path / "a", ["a"]), format="chat")
    with pytest.raises(UserError, match=r"lm\.format=plain only applies to models that are a decoder only"):
        built(tiny_family("t5", tmp_path / "b", ["a"]), format="plain")
    folder = tiny_family("qwen3", tmp_path / "c", ["a"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ nothing.of('the kind') }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"chat template .* cannot be used .*lm\.format=plain"):
        built(folder)
