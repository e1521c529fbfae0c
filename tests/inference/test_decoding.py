import numpy as np
import pytest

from close_transfer.core.errors import UserError
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from tests.families import tiny_family
from tests.models.test_language_models import DIM, built


def test_a_prompt_longer_than_the_language_model_is_refused(tmp_path):
    network, lm = built(tiny_family("gpt2", tmp_path / "lm", ["how many dogs are there"]))
    network.config.task["max_prompt_tokens"] = 256
    decoder = Decoder(network, lm.tokenizer, Decoding(1), 4)
    vectors = np.ones((1, DIM), dtype=np.float32)
    assert decoder.predict(["a"], vectors.__getitem__, ["how many dogs are there"])[0].id == "a"
    with pytest.raises(UserError, match=r"has 128 positions, .*Give shorter prompts"):
        decoder.predict(["a"], vectors.__getitem__, ["how many dogs are there " * 40])
