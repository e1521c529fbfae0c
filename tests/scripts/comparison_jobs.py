"""The commands that `compare_commits.py` runs in both commits, and the small inputs that they read."""

import json
import random
from pathlib import Path

import numpy as np

SMALL_DATA = "data.num_train=40 data.num_val=10 data.num_test=12 data.num_test_novel=10"
SMALL_LM = "lm.vocab_size=400 lm.config.d_model=32 lm.config.d_kv=8 lm.config.d_ff=64 lm.config.num_heads=2"
SMALL_LOOP = "train.max_steps=6 train.batch_size=16 train.num_validations=2 train.log_every=1 device=cpu"
SMALL = f"{SMALL_DATA} {SMALL_LM} {SMALL_LOOP}"
OWN = f"{SMALL_LM} {SMALL_LOOP}"
EVAL = "num_bootstrap=20 device=cpu"
TASKS = ("captioning", "captioning-multi", "snli-ve", "vqa")
RECIPES = (
    "coco-style",
    "egocentric",
    "uplifting",
    "character",
    "news",
    "vqa",
    "entailment",
    "paraphrase-group",
    "reviews",
)


def jobs(base_url):
    """Yield (name, commands, files to read); a command is a script and its settings."""
    for task in TASKS:
        for script, short in (("train_text_only", "text"), ("train_on_images", "image")):
            run = f"out/{task}-{short}"
            yield run, [f"{script} task={task} {SMALL} output={run}", f"eval_image task={task} run={run} {EVAL}"], None
        yield (
            f"text input, {task}",
            [f"eval_image task={task} run=out/{task}-text scene=text {EVAL} output=out/in-text-{task}"],
            f"out/in-text-{task}",
        )
    yield (
        "baselines",
        [
            f"baseline {SMALL_DATA} {EVAL} output=out/baseline/nearest",
            f"baseline task=snli-ve baseline=zero-shot {SMALL_DATA} {EVAL} output=out/baseline/zero",
        ],
        "out/baseline",
    )
    yield (
        "predictions",
        [
            "predict task=captioning run=out/captioning-text images=photos device=cpu output=out/predicted/photos.jsonl",
            "predict task=captioning run=out/captioning-text embeddings=vectors.npy scene=text device=cpu num_beams=3 num_return=2 "
            "output=out/predicted/vectors.jsonl",
        ],
        "out/predicted",
    )
    yield (
        "decoding",
        [
            f"eval_image run=out/captioning-text {EVAL} text_memory=train output=out/decoding/memory",
            f"eval_image run=out/captioning-text {EVAL} num_return=3 top_p=0.9 temperature=1.1 rerank=true output=out/decoding/reranked",
        ],
        "out/decoding",
    )
    yield (
        "a language model",
        [
            "write_picturebook_text output=out/text.jsonl data.num_train=60",
            "pretrain_lm lm=gpt2-mini lm.vocab_size=400 lm.config.n_embd=32 lm.config.n_head=2 text=[out/text.jsonl] "
            "max_steps=6 max_tokens=64 batch_size=8 device=cpu output=out/lm",
        ],
        "out/lm",
    )
    for tuning in ("lora", "frozen"):
        run = f"out/{tuning}"
        yield (
            run,
            [
                f"train_text_only lm=out/lm lm.tuning={tuning} {SMALL_DATA} {SMALL_LOOP} output={run}",
                f"eval_image run={run} {EVAL}",
            ],
            None,
        )
    for rule in ("largest_coordinate", "cosine", "shifted_validation"):
        run = f"out/auto-{rule}"
        scenes = " data.num_train=400" if rule == "shifted_validation" else ""  # it needs words that many scenes share
        yield run, [f"train_text_only noise=auto noise_rule={rule} {SMALL}{scenes} output={run}"], None
    yield (
        "statistics",
        [
            f"compute_statistics {SMALL_DATA} device=cpu output=out/unpaired",
            f"compute_statistics {SMALL_DATA} device=cpu pairs=true output=out/paired",
        ],
        ("out/unpaired", "out/paired"),
    )
    for kind in ("unpaired", "paired"):
        run = f"out/auto-{kind}"
        yield run, [f"train_text_only noise=auto-{kind} statistics=out/{kind} {SMALL} output={run}"], None
    yield (
        "a chain of adapters",
        [
            f"train_text_only adapter=[remove_mean,gaussian] statistics=out/unpaired {SMALL} output=out/chain",
            f"eval_image run=out/chain {EVAL}",
        ],
        "out/chain",
    )
    yield (
        "out/mapper",
        [f"train_text_only mapper=transformer adapter=uniform_ball noise=0.1 {SMALL} output=out/mapper"],
        None,
    )
    yield "gap", [f"measure_gap {SMALL_DATA} num_bootstrap=20 device=cpu output=out/gap"], "out/gap"
    yield "a table", [f"train_text_only data=file data.path=captions.jsonl {OWN} output=out/table"], "out/table"
    yield (
        "COCO's format",
        [
            "train_text_only data=coco data.root=coco data.files.train=captions.json data.files.val=captions.json "
            f"task=captioning-multi {OWN} output=out/coco"
        ],
        "out/coco",
    )
    yield (
        "VQA's format",
        [
            "train_text_only task=vqa data=vqa2 data.root=vqa data.captions_root=coco "
            "data.files={train:q.json,val:q.json} data.annotations={train:a.json,val:a.json} "
            f"data.captions={{train:captions.json,val:captions.json}} {OWN} output=out/vqa2"
        ],
        "out/vqa2",
    )
    yield (
        "scores of a file",
        [
            "score_predictions task=captioning predictions=out/predicted_refs.json references=coco/captions.json num_bootstrap=20 output=out/scored"
        ],
        "out/scored",
    )
    for recipe in RECIPES:
        folder = f"out/corpus-{recipe}"
        more = " references=captions.txt" if recipe in ("egocentric", "uplifting", "character") else ""
        yield folder, [f"synthesize_captions recipe={recipe} num_texts=40 output={folder}{more}"], None
    yield (
        "corpus by a server",
        [
            f"synthesize_captions source=openai model=stand-in base_url={base_url} num_texts=24 references=captions.txt "
            "allow_unpriced=true max_total_tokens=1000000 concurrency=4 filters.clip_tokens=null output=out/served"
        ],
        "out/served",
    )


def write_inputs(folder: Path) -> None:
    """Write small inputs of each format, the same for both commits."""
    rng = random.Random(0)
    things, colours = (
        ["dog", "cat", "tree", "house", "ball", "boat", "duck", "star"],
        ["red", "green", "blue", "yellow"],
    )
    places = ["on the grass", "in the snow", "near the water", "by the road"]
    texts = [[f"A {rng.choice(colours)} {thing} {rng.choice(places)}.", f"There is one {thing} {rng.choice(places)}."]
             for thing in rng.choices(things, k=40)]  # fmt: skip
    (folder / "captions.jsonl").write_text("".join(json.dumps({"text": pair[0]}) + "\n" for pair in texts))
    (folder / "captions.txt").write_text("".join(f"{text}\n" for pair in texts for text in pair))
    for name in ("coco", "vqa", "photos", "out"):
        (folder / name).mkdir()
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "height": 30, "width": 40} for n in range(len(texts))]
    captions = [
        {"image_id": n, "id": 2 * n + k, "caption": text} for n, pair in enumerate(texts) for k, text in enumerate(pair)
    ]
    (folder / "coco/captions.json").write_text(
        json.dumps({"images": images, "annotations": captions, "info": {}, "licenses": []})
    )
    asked = [{"image_id": n, "question": "What is there?", "question_id": n} for n in range(len(texts))]
    answers = [[pair[1].split()[3]] * 7 + ["thing"] * 3 for pair in texts]
    given = [
        {"question_id": n, "image_id": n, "question_type": "what is", "answer_type": "other", "multiple_choice_answer": said[0],
         "answers": [{"answer": one, "answer_confidence": "yes", "answer_id": k} for k, one in enumerate(said)]}
        for n, said in enumerate(answers)
    ]  # fmt: skip
    (folder / "vqa/q.json").write_text(json.dumps({"questions": asked, "info": {}, "data_subtype": "train2014"}))
    (folder / "vqa/a.json").write_text(json.dumps({"annotations": given, "info": {}, "data_subtype": "train2014"}))
    (folder / "out/predicted_refs.json").write_text(
        json.dumps([{"image_id": n, "caption": pair[1]} for n, pair in enumerate(texts)])
    )
    pixels = np.random.default_rng(0)
    np.save(folder / "vectors.npy", pixels.normal(size=(9, 128)).astype("float32"))
    from PIL import Image

    for number in range(5):
        Image.fromarray(pixels.integers(0, 255, (40, 40, 3), dtype="uint8")).save(folder / f"photos/{number}.png")
