"""German from end to end: a multilingual text tower, a language model with a vocabulary of its own, scores without English.

The tower is one of open_clip's kind for XLM-RoBERTa, tiny and with random weights; its tokenizer is trained here, with the
family's special tokens.
"""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import XLMRobertaConfig

from close_transfer import TransferModel
from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_LOOP, SMALL_MODEL

CAPTIONS = [
    f"{number} {thing} {place}."
    for number in ("Zwei", "Drei", "Fünf")
    for thing in ("Hunde", "Kühe", "Bäume", "weiße Häuser")
    for place in ("im Schnee", "am Straßenrand", "auf der Wiese")
]


@pytest.fixture
def multilingual():
    """A folder that open_clip loads as local-dir:FOLDER."""
    tower = Path("tower")
    tokenizer = train_bpe(CAPTIONS, 400, end_token="</s>", start_token="<s>", lowercase=False)
    tokenizer.save_pretrained(tower)
    XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        pad_token_id=tokenizer.pad_token_id, max_position_embeddings=90,
    ).save_pretrained(tower)  # fmt: skip
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"hf_model_name": str(tower.resolve()), "hf_tokenizer_name": str(tower.resolve()), "hf_pooler_type": "mean_pooler", "hf_model_pretrained": False},
    }  # fmt: skip
    torch.manual_seed(0)
    folder = Path("multilingual")
    folder.mkdir()
    model = open_clip.CustomTextCLIP(**config)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    tokenizer.save_pretrained(folder)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def test_german_is_trained_scored_and_written(multilingual):
    rows = [{"text": text, "scene": n // 2, "file": f"{n // 2}.png"} for n, text in enumerate(CAPTIONS)]
    Path("bilder.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for row in rows:
        Image.new("RGB", (40, 40), "green").save(row["file"])
    data = ["data=file", "data.path=bilder.jsonl", "data.group_column=scene", "data.image_column=file"]
    clip = ["clip=open_clip", f"clip.model=local-dir:{multilingual}", "clip.pretrained=null"]
    given = [*data, *clip, "task.language=de", *SMALL_MODEL, *SMALL_LOOP, "device=cpu", "output=lauf"]
    train(compose_config("train", TrainConfig, given), "text")
    found = evaluate(compose_config("evaluate", EvaluateConfig, ["run=lauf", "device=cpu", "num_bootstrap=5", *data]))
    assert "chrF" in found.scores.metrics and "METEOR" not in found.scores.metrics
    model = TransferModel.from_pretrained("lauf", device="cpu")
    told = model.tokenizer("fünf weiße Kühe", add_special_tokens=False).input_ids
    assert model.tokenizer.decode(told).strip() == "fünf weiße Kühe".lower()  # nothing is lost but the case
    assert len(model.write(texts=["Zwei Hunde im Schnee."], num_beams=2, num_return=2)[0].candidates) == 2
