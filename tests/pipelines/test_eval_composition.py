"""eval_composition.py as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.eval_composition import EvalCompositionConfig
from close_transfer.core.errors import UserError
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.loading import load_model
from close_transfer.pipelines.eval_composition import eval_composition
from tests.commands import run_command

QUICK = ["num_order=6", "num_per_swap=4", "num_twins_per_swap=2", "num_bootstrap=20", "device=cpu"]
METRICS = [
    "accuracy/twins", "text", "image", "group",
    "accuracy/order", "accuracy/attribute", "accuracy/relation", "accuracy/count",
]  # fmt: skip


def run(*settings):
    config = compose_config("eval_composition", EvalCompositionConfig, [*QUICK, "output=composed", *settings])
    eval_composition(config)
    return json.loads(Path("composed/results.json").read_text())


def test_one_system_must_be_given():
    for settings in ([], ["run=latest", "clip=picturebook"]):
        with pytest.raises(UserError, match="give either run= or clip="):
            run(*settings)
    with pytest.raises(UserError, match=r"clip=timm: captions are compared with images, and nf_resnet50 does not"):
        run("clip=timm")


@pytest.mark.slow
def test_a_clip_is_tested_by_similarity_and_two_systems_are_compared():
    finished = run_command("eval_composition", *QUICK, "output=composed", "clip=picturebook")
    assert finished.status == 0, finished.err
    written = json.loads(Path("composed/results.json").read_text())
    assert set(written["metrics"]) == set(METRICS)
    page = Path("composed/report.html").read_text()
    for name, value in written["metrics"].items():
        assert f"{value:6.1f}" in finished.out and f"<code>{name}</code>" in page
    lines = [json.loads(line) for line in Path("composed/scores.jsonl").read_text().splitlines()]
    assert len(lines) == 6 and all("accuracy/twins" in line for line in lines)
    predictions = [json.loads(line) for line in Path("composed/predictions.jsonl").read_text().splitlines()]
    assert np.shape(predictions[-1]["scores"]) == (2, 2)
    compared = run_command("compare_results", "results=composed", "output=compared")
    assert compared.status == 0, compared.err


@pytest.mark.slow
def test_a_captioner_is_tested_by_likelihood(finished_runs):
    written = run("run=latest", f"runs={finished_runs}")
    assert set(written["metrics"]) == set(METRICS)
    assert written["config"]["train"]["task"]["name"] == "captioning"
    assert (written["training_input_modality"], written["data_regime"]) == ("text", "T0")
    assert written["noise"]["std"] == 0.1
    with pytest.raises(UserError, match="was trained for task=vqa, which does not write captions"):
        run(f"run={finished_runs / 'vqa' / 'latest'}")


@pytest.mark.slow
def test_a_blind_captioner_is_at_50_exactly(train_small):
    folder, _ = train_small("adapter=blind")
    metrics = run(f"run={folder}")["metrics"]
    assert (metrics["accuracy/twins"], metrics["text"], metrics["image"], metrics["group"]) == (50, 0, 0, 0)


def test_a_score_is_the_sum_of_log_likelihoods_with_the_end_token(finished_runs):
    import torch

    model, tokenizer = load_model((finished_runs / "captioning" / "latest").resolve(), "best", "cpu")
    decoder = Decoder(model, tokenizer, Decoding(num_beams=1))
    vectors = np.random.default_rng(0).standard_normal((2, 128)).astype(np.float32)
    texts = [["a red dog.", "a dog"], ["two cats on a very large box in the snow at night."]]
    scores = decoder.score_texts(vectors, ["", ""], texts)
    for row, group in enumerate(texts):
        for text, score in zip(group, scores[row], strict=True):
            ids = torch.tensor([tokenizer(text).input_ids])
            assert ids[0, -1] == tokenizer.eos_token_id
            with torch.inference_mode():
                logits = model(
                    torch.from_numpy(vectors[row : row + 1]),
                    *decoder._encode_prompts([""]),
                    ids,
                    torch.tensor([0]),
                    "image",
                )
            likelihoods = logits[0].log_softmax(dim=-1).gather(1, ids[0, :, None])
            assert score == pytest.approx(likelihoods.sum().item(), abs=1e-3)


@pytest.mark.slow
def test_original_files_are_tested():
    for number in (0, 1):
        Image.new("RGB", (64, 64), ("red", "blue")[number]).save(f"{number}.png")
    twin = {"id": 0, "image_0": "0", "image_1": "1", "caption_0": "A red box.", "caption_1": "A blue box."}
    Path("examples.jsonl").write_text(json.dumps(twin) + "\n")
    Path("swap_att.json").write_text(
        json.dumps({"0": {"filename": "0.png", "caption": "A red box.", "negative_caption": "A blue box."}})
    )
    assert set(run("clip=picturebook", "items=[examples.jsonl,swap_att.json]", "images=.")["metrics"]) == {
        "accuracy/twins", "text", "image", "group", "accuracy/swap_att",
    }  # fmt: skip
    written = run("clip=picturebook", "items=swap_att.json", "images=.")
    assert (set(written["metrics"]), written["data"]) == ({"accuracy/swap_att"}, "swap_att")
    assert "accuracy/choices" in Path("composed/scores.jsonl").read_text()
    with pytest.raises(UserError, match=r"items= names images\. Give images=FOLDER"):
        run("clip=picturebook", "items=swap_att.json")
    with pytest.raises(UserError, match=r"images=photos only applies with items="):
        run("clip=picturebook", "images=photos")
