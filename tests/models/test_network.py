import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.prefix_words import find_nearest_words
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import build_language_model
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.pipelines.train import train
from close_transfer.training.run_folder import RunFolder
from tests.conftest import SMALL, small_config


@pytest.fixture(scope="module")
def parts():
    config = compose_config("train", TrainConfig, SMALL)
    torch.manual_seed(0)
    built = build_language_model(config.lm, ["a red dog in the snow", "two cats", "entailment", "neutral"])
    lm, tokenizer = built.model, built.tokenizer
    model_config = TransferConfig(
        encoder={"name": "x", "dim": 16, "fingerprint": "f"},
        adapter=[{"name": "gaussian"}],
        mapper={"name": "linear", "num_tokens": 4, "num_constant_tokens": 1},
        noise={"std": 0.1},
        task={"name": "captioning", "max_prompt_tokens": 16, "max_target_tokens": 12, "num_beams": 3},
        lm=lm.config.to_dict(),
    )
    return TransferNetwork(model_config, lm).eval(), tokenizer


@pytest.fixture(scope="module")
def vectors():
    return torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


def test_saved_and_loaded_it_is_the_same(parts, vectors, tmp_path):
    model, _tokenizer = parts
    model.save_pretrained(tmp_path)
    loaded = TransferNetwork.from_pretrained(tmp_path).eval()
    inputs = [vectors, torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, 0, dtype=torch.long)]
    labels, scenes = torch.tensor([[5, 6, 1], [7, 1, -100], [9, 1, -100]]), torch.tensor([0, 1, 2])
    torch.testing.assert_close(
        loaded(*inputs, labels, scenes, "text"), model(*inputs, labels, scenes, "text"), rtol=0, atol=0
    )
    assert loaded.config.noise == model.config.noise
    assert loaded.config.encoder == model.config.encoder
    assert loaded.config.task == model.config.task


class CountedLookUps(TorchDispatchMode):
    """Mode that counts gradients of tables, each as large as the table."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += function.name() == "aten::embedding_dense_backward"
        return function(*args, **(kwargs or {}))


def test_an_empty_prompt_has_no_gradient_of_the_whole_table(parts, vectors):
    model, _ = parts
    scenes, labels = torch.arange(3), torch.tensor([[5, 6, 1], [7, 1, -100], [9, 1, -100]])
    numbers = []
    for length in (0, 2):
        ids = torch.ones(3, length, dtype=torch.long)
        loss = model(vectors, ids, ids, labels, scenes, "text").sum()
        with CountedLookUps() as counted:
            loss.backward()
        numbers.append(counted.number)
    assert numbers[1] - numbers[0] == 1


def test_a_scene_is_encoded_once_however_many_targets_it_has(parts, vectors, monkeypatch):
    model, _ = parts
    rows = []
    encoder = model.lm.get_encoder()
    original = encoder.forward
    monkeypatch.setattr(
        encoder, "forward", lambda *a, **k: (rows.append(len(k["inputs_embeds"])), original(*a, **k))[1]
    )
    empty = torch.zeros(1, 0, dtype=torch.long)
    labels = torch.tensor([[5, 6, 1], [7, 1, -100], [9, 8, 1]])
    together = model(vectors[:1], empty, empty, labels, torch.tensor([0, 0, 0]), "image")
    assert rows == [1]
    for target in range(3):
        alone = model(vectors[:1], empty, empty, labels[target : target + 1], torch.tensor([0]), "image")
        torch.testing.assert_close(together[target : target + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_mapper_of_raw_vectors_reads_them_as_they_are_everywhere(parts):
    given = parts[0].config.to_dict() | {"mapper": {"name": "identity", "num_tokens": 1}, "encoder": {"dim": 32}}
    model = TransferNetwork(TransferConfig(**given), parts[0].lm).eval()
    raw = 3 * model.lm.get_input_embeddings().weight[[5, 6]]  # adapters would scale these to unit length
    assert torch.equal(model.adapt(raw, "image"), raw) and not torch.equal(model.adapter(raw, "image"), raw)
    words = find_nearest_words(model, parts[1], raw, "image", 1)
    assert [word.cosine for ((word,),) in words] == pytest.approx([1, 1])


def test_prompts_are_read(parts, vectors):
    model, tokenizer = parts
    decoder = Decoder(model, tokenizer, Decoding(num_beams=2))
    rows = vectors.numpy()
    one, other = (decoder.predict(["a"], rows.__getitem__, [p])[0].scores for p in ("a red dog", "two cats"))
    assert one != other


def test_answers_that_do_not_fit_into_a_gpu_are_given_in_smaller_batches(parts, vectors, monkeypatch):
    def fill(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(parts[0]), "read", fill)
    decoder = Decoder(*parts, Decoding(num_beams=2), batch_size=8)
    message = r"answering 8 examples at a time with num_beams=2\. Give batch_size=4"
    with pytest.raises(UserError, match=message):
        decoder.predict(["a"], vectors.numpy().__getitem__, ["a"])
    with pytest.raises(UserError, match=message):
        decoder.predict_batch(["a"], vectors[:1].numpy(), ["a"], ())


def test_candidates_come_best_first_and_scores_are_log_probabilities(parts, vectors):
    model, tokenizer = parts
    decoder = Decoder(model, tokenizer, Decoding(num_beams=4, num_return=3))
    for prediction in decoder.predict(["a", "b", "c"], vectors.numpy().__getitem__, [""] * 3):
        assert len(prediction.candidates) == len(prediction.scores) == 3
        assert list(prediction.scores) == sorted(prediction.scores, reverse=True)
        assert all(score < 0 for score in prediction.scores)


def test_answers_come_in_the_order_of_the_questions(parts):
    model, tokenizer = parts
    vectors = torch.randn(9, 16, generator=torch.Generator().manual_seed(2)).numpy()
    prompts = ["a", "two cats in the snow", "", "a red dog", "two", "a", "cats", "dog in the snow", "red"]
    ids = [str(i) for i in range(9)]
    together = Decoder(model, tokenizer, Decoding(2), batch_size=4).predict(ids, vectors.__getitem__, prompts)
    assert [p.id for p in together] == ids
    for row in range(9):
        alone = Decoder(model, tokenizer, Decoding(2)).predict(
            ["x"], lambda r, row=row: vectors[[row]], [prompts[row]]
        )[0]
        assert alone.candidates == together[row].candidates
        assert alone.scores == pytest.approx(together[row].scores, abs=1e-4)


def test_label_scores_are_log_likelihoods_of_the_whole_label(parts, vectors):
    model, tokenizer = parts
    labels = ("neutral", "entailment")
    (prediction,) = Decoder(model, tokenizer, Decoding(1)).predict(
        ["a"], vectors[:1].numpy().__getitem__, ["dog"], labels
    )
    ids = tokenizer("entailment", return_tensors="pt").input_ids
    prompt = tokenizer("dog", return_tensors="pt")
    logits = model(vectors[:1], prompt.input_ids, prompt.attention_mask, ids, torch.tensor([0]), "image")
    expected = logits.log_softmax(-1)[0].gather(1, ids[0][:, None]).sum()
    assert prediction.label_scores[1] == pytest.approx(float(expected), abs=1e-4)
    assert prediction.label == labels[max((0, 1), key=lambda i: prediction.label_scores[i])]


def test_pretrained_language_models_load_from_a_folder(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = train_bpe(["a red dog", "two cats"], 300, end_token="</s>")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=16, num_heads=2, num_layers=1, num_decoder_layers=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    model.save_pretrained(tmp_path / "my_t5")
    tokenizer.save_pretrained(tmp_path / "my_t5")
    overrides = [o for o in SMALL if not o.startswith("lm.")]
    run, _ = train(
        compose_config("train", TrainConfig, [*overrides, f"lm={tmp_path / 'my_t5'}", "train.max_steps=1"]), "text"
    )
    best = RunFolder(run).find_checkpoint("best")
    assert TransferNetwork.from_pretrained(best).lm.config.d_model == 16
    assert len(AutoTokenizer.from_pretrained(best)) == len(tokenizer)


def test_a_language_model_that_cannot_be_had_says_what_to_do():
    with pytest.raises(
        UserError, match=r"lm=t5-small: cannot be loaded .*Connect to the hub once, or give a folder"
    ) as caught:
        train(
            compose_config("train", TrainConfig, [*[o for o in SMALL if not o.startswith("lm.")], "lm=t5-small"]),
            "text",
        )
    assert "\n" not in str(caught.value)


def test_a_run_carries_all_that_inference_needs():
    run, _ = train(small_config("train.max_steps=1", "noise_variance=0.0064"), "text")
    config = json.loads((run / "best" / "config.json").read_text())
    assert config["encoder"]["name"] == "picturebook"
    assert len(config["encoder"]["fingerprint"]) == 64
    assert config["noise"]["std"] == pytest.approx(0.08)
    assert set(config["noise"]) == {"std", "variance", "length", "cosine"}
    assert config["task"]["name"] == "captioning"
    assert config["data_regime"] == "T0"
