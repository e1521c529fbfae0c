"""Compute what must not change by accident: plans and corpora of a grammar, and predictions of fixed weights.

    python -m tests.golden.record        # writes tests/golden/golden.json anew

A commit that changes these on purpose writes them anew and says why.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from close_transfer.core.command_line import compose_config, options
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.network import TransferConfig, TransferNetwork
from textgen.config import SynthesizeCaptionsConfig
from textgen.pipeline import synthesize

GOLDEN = Path(__file__).with_name("golden.json")
NUM_TEXTS, DIM, NUM_VECTORS = 30, 16, 12
TEXTS = ["a red dog sleeps in the snow", "two cats near the water", "one blue ball on the grass", "a green boat"]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_corpora(folder: Path) -> dict[str, dict[str, str]]:
    """Plan and corpus of every recipe, written by the grammar."""
    written = {}
    for recipe in options("recipe"):
        output = folder / recipe
        arguments = [f"recipe={recipe}", f"num_texts={NUM_TEXTS}", f"output={output}", "filters.clip_tokens=null"]
        synthesize(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments), arguments)
        written[recipe] = {name: digest(output / f"{name}.jsonl") for name in ("plan", "corpus")}
    return written


def fixed_values(shape: torch.Size, number: int) -> torch.Tensor:
    """Values that follow from the shape and a number alone, whatever draws random numbers; about unit size."""
    return torch.from_numpy(np.sin(np.arange(shape.numel()) * (1.7 + 0.31 * number)).astype(np.float32)).reshape(shape)


def build_fixed_network() -> tuple[TransferNetwork, PreTrainedTokenizerBase]:
    """A small network whose weights are a formula, and its tokenizer."""
    tokenizer = train_bpe(TEXTS, 300, end_token=END_TOKEN)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": len(tokenizer)}
    tokens = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    lm = AutoConfig.for_model("t5", **sizes, **tokens, decoder_start_token_id=tokenizer.pad_token_id)
    network = TransferNetwork(
        TransferConfig(
            encoder={"name": "fixed", "dim": DIM, "fingerprint": "", "config": {}},
            adapter=[{"name": "gaussian"}],
            mapper={"name": "linear", "num_tokens": 2, "num_constant_tokens": 0},
            noise={"std": 0.1},
            task={"max_prompt_tokens": 8, "max_target_tokens": 12, "lowercase_targets": False, "num_beams": 3},
            lm=lm.to_dict(),
            text_format={"kind": "encoder-decoder", "before": []},
        )
    ).eval()
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(fixed_values(parameter.shape, number))
    return network, tokenizer


def write_predictions() -> list[dict[str, float]]:
    """Candidates for fixed vectors with their scores, of the fixed network."""
    network, tokenizer = build_fixed_network()
    vectors = fixed_values(torch.Size([NUM_VECTORS, DIM]), 7).numpy()
    decoder = Decoder(network, tokenizer, Decoding(num_beams=3, num_return=2), batch_size=5)
    ids = [str(row) for row in range(NUM_VECTORS)]
    predictions = decoder.predict_batch(ids, vectors, [""] * NUM_VECTORS, ())
    return [dict(zip(each.candidates, map(float, each.scores), strict=True)) for each in predictions]


def compute() -> dict:
    """Return all golden values, as the file holds them."""
    with tempfile.TemporaryDirectory() as folder:
        return {"corpora": write_corpora(Path(folder)), "predictions": write_predictions()}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(compute(), indent=1) + "\n")
