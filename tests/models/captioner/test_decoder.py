"""Reading of a captioner's decoder: earlier tokens, masks, and the image."""

import json
import math

import pytest
import torch
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.core.errors import UserError
from close_transfer.inference.beam_search import SearchSettings, search_beams
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.captioner import CaptionerDecoder, CaptionerDecoderConfig
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.lm_wrappers import Context
from close_transfer.models.network import TransferConfig, TransferNetwork

WIDTH, VOCABULARY = 8, 20


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    model = CaptionerDecoder(
        CaptionerDecoderConfig(VOCABULARY, WIDTH, 2, 2, 8, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    )
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture
def image():
    return BaseModelOutput(last_hidden_state=torch.randn(2, 3, WIDTH))


def test_a_token_follows_from_those_before_it_only(decoder, image):
    labels = torch.randint(2, VOCABULARY, (2, 6))
    changed = labels.clone()
    changed[:, 3] = (labels[:, 3] + 1) % VOCABULARY
    before, after = (decoder(encoder_outputs=image, labels=ids).logits for ids in (labels, changed))
    # The label of place 3 is read at place 4.
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4], after[:, 4])


def test_parallel_logits_do_not_depend_on_the_tokens(decoder, image):
    is_parallel = torch.tensor([True, False])
    first, second = (torch.randint(2, VOCABULARY, (2, 6)) for _ in range(2))
    logits = [decoder(encoder_outputs=image, labels=ids, is_parallel=is_parallel).logits for ids in (first, second)]
    assert torch.equal(logits[0][0], logits[1][0])
    assert not torch.equal(logits[0][1], logits[1][1])


def test_a_parallel_place_attends_to_all_others(decoder, image):
    labels, is_parallel = torch.randint(2, VOCABULARY, (2, 6)), torch.tensor([True, True])
    before = decoder(encoder_outputs=image, labels=labels, is_parallel=is_parallel).logits
    with torch.no_grad():
        decoder.positions[5] += 1
    after = decoder(encoder_outputs=image, labels=labels, is_parallel=is_parallel).logits
    assert (before[:, 0] != after[:, 0]).any()


def test_share_0_is_the_causal_decoder(decoder, image):
    labels = torch.randint(2, VOCABULARY, (2, 6))
    never = decoder(encoder_outputs=image, labels=labels, is_parallel=torch.tensor([False, False])).logits
    torch.testing.assert_close(never, decoder(encoder_outputs=image, labels=labels).logits)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_the_mask_is_never_read_in_evaluation(decoder, image, num_beams):
    with torch.no_grad():
        decoder.embedding.weight[VOCABULARY] = math.nan
    labels = torch.randint(2, VOCABULARY, (2, 6))
    assert decoder(encoder_outputs=image, labels=labels).logits.isfinite().all()
    parallel = decoder(encoder_outputs=image, labels=labels, is_parallel=torch.tensor([True, True])).logits
    assert parallel.isnan().all()
    mask = torch.ones(2, 3, dtype=torch.long)
    states = image.last_hidden_state  # generate() repeats that of `image` in place
    written = decoder.generate(encoder_outputs=image, attention_mask=mask, max_new_tokens=4, num_beams=num_beams)
    assert (written < VOCABULARY).all()
    texts, scores = search_beams(decoder, Context(states, mask), SearchSettings(num_beams, 1, 4, end=1, padding=0))
    assert (texts < VOCABULARY).all() and scores.isfinite().all()
    assert decoder.head.weight.shape[0] == VOCABULARY  # so it cannot be written, and then read


def test_greedy_decoding_takes_the_likeliest_next_token(decoder, image):
    mask = torch.ones(2, 3, dtype=torch.long)
    written = decoder.generate(encoder_outputs=image, attention_mask=mask, max_new_tokens=5, eos_token_id=1)
    for row in range(2):
        ids = written[row : row + 1]
        one = BaseModelOutput(last_hidden_state=image.last_hidden_state[row : row + 1])
        for place in range(1, ids.shape[1]):
            logits = decoder(encoder_outputs=one, decoder_input_ids=ids[:, :place]).logits
            assert ids[0, place] == logits[0, -1].argmax()
            if ids[0, place] == 1:
                break


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_the_cache_changes_no_text(decoder, image, settings):
    mask = torch.tensor([[1, 1, 1], [1, 0, 1]])
    written = []
    for use_cache in (True, False):
        torch.manual_seed(0)
        states = BaseModelOutput(last_hidden_state=image.last_hidden_state)  # generate() changes it in place
        given = {"encoder_outputs": states, "attention_mask": mask, "max_new_tokens": 7, "eos_token_id": 1}
        written.append(decoder.generate(**given, **settings, use_cache=use_cache).tolist())
    assert written[0] == written[1]


@pytest.mark.parametrize("is_blind", [False, True])
def test_cached_logits_are_those_of_the_whole_text(decoder, image, is_blind):
    decoder.config.is_blind = is_blind
    ids = torch.randint(2, VOCABULARY, (2, 6))
    expected = decoder(encoder_outputs=image, decoder_input_ids=ids).logits
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    parts = [
        # The image is read once, so what later calls give for it does not matter.
        decoder(encoder_outputs=[states], decoder_input_ids=part, past_key_values=cache).logits
        for part, states in zip(
            ids.split([3, 1, 2], dim=1), (image[0], image[0] * math.nan, image[0] * math.nan), strict=True
        )
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)


LABELS = ("a cat", "a black dog", "two")


@pytest.fixture(scope="module")
def network_and_tokenizer():
    tokenizer = train_bpe(LABELS, 300, END_TOKEN)
    torch.manual_seed(0)
    special = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    lm = CaptionerDecoder(CaptionerDecoderConfig(len(tokenizer), WIDTH, 1, 2, 32, **special))
    torch.nn.init.normal_(lm.head.weight)
    task = {"name": "captioning", "max_prompt_tokens": 4, "max_target_tokens": 32, "num_beams": 1}
    network = TransferNetwork(
        TransferConfig(
            encoder={"name": "any", "dim": WIDTH, "fingerprint": ""},
            mapper={"name": "identity", "num_tokens": 1},
            noise={"std": 0.0},
            task=task,
            lm=lm.config.to_dict(),
        ),
        lm,
    )
    return network.eval(), tokenizer


def test_a_text_longer_than_the_positions_is_refused(network_and_tokenizer):
    decoder = Decoder(*network_and_tokenizer, Decoding(1))
    grid = torch.randn(1, 40, WIDTH).numpy()  # the image takes none of the 32 positions
    assert len(decoder.score_texts(grid, [""], [["a cat", "x" * 30]])[0]) == 2
    for score in (lambda: decoder.score_texts(grid, [""], [["a cat", "x" * 31]]),
                  lambda: decoder.score_every_text(grid, [""], ["a cat", "x" * 31])):  # fmt: skip
        with pytest.raises(UserError, match=r"has 32 positions, but a text may take 33\. Give shorter texts"):
            score()


@pytest.mark.parametrize("decoding", [Decoding(1), Decoding(3, num_return=2), Decoding(1, top_p=0.9)])
def test_answers_and_scores_never_read_the_mask(network_and_tokenizer, decoding):
    network, tokenizer = network_and_tokenizer
    decoder, grid = Decoder(network, tokenizer, decoding), torch.randn(2, 3, WIDTH).numpy()

    def answer():
        predictions = decoder.predict_batch(["0", "1"], grid, ["", ""], LABELS)
        return predictions, decoder.score_texts(grid, ["", ""], [LABELS] * 2)

    before, weights = answer(), network.lm.embedding.weight.data
    mask = weights[len(tokenizer)].clone()
    try:
        weights[len(tokenizer)] = math.nan
        assert answer() == before
    finally:
        weights[len(tokenizer)] = mask


@pytest.mark.parametrize(
    "setting",
    [{"depth": 10**9}, {"heads": 3}, {"decoder_start_token_id": 10**6}, {"pad_token_id": None}],
)
def test_sizes_that_are_not_those_of_the_weights_are_refused_before_building(network_and_tokenizer, tmp_path, setting):
    network_and_tokenizer[0].save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"lm": config["lm"] | setting}))
    with pytest.raises(UserError, match=r"config\.json"):
        TransferNetwork.from_pretrained(tmp_path)


def test_a_score_is_the_sum_of_log_likelihoods_with_the_end_token(network_and_tokenizer):
    network, tokenizer = network_and_tokenizer
    lm, grid = network.lm, torch.randn(1, 3, WIDTH)
    decoder = Decoder(network, tokenizer, Decoding(1))
    (prediction,) = decoder.predict_batch(["0"], grid.numpy(), [""], LABELS)
    (by_row,), (at_once,) = (
        decoder.score_texts(grid.numpy(), [""], [LABELS]),
        decoder.score_every_text(grid.numpy(), [""], LABELS),
    )
    for label, *scores in zip(LABELS, prediction.label_scores, by_row, at_once.tolist(), strict=True):
        ids = tokenizer(label).input_ids
        assert ids[-1] == tokenizer.eos_token_id
        expected, image = 0.0, BaseModelOutput(last_hidden_state=grid)
        for place, token in enumerate(ids):
            before = torch.tensor([[0, *ids[:place]]])
            logits = lm(encoder_outputs=image, decoder_input_ids=before).logits[0, -1]
            expected += float(F.log_softmax(logits, dim=-1)[token])
        assert scores == pytest.approx([expected] * 3, rel=1e-4)
