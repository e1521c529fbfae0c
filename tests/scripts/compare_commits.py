"""Compare what two commits compute: weights, metrics, predictions, chosen noise, plans and corpora, bit by bit.

    python tests/scripts/compare_commits.py BEFORE AFTER
    python tests/scripts/compare_commits.py BEFORE --record before.json
    python tests/scripts/compare_commits.py AFTER --against before.json

Each commit is checked out into a temporary folder and runs the same commands with this interpreter on one thread.
Commands are written in the words of AFTER; `renamed.py` translates them, and the fields of what is read, for BEFORE.
The exit status is 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.scripts.renamed import FIELDS, FIELDS_BELOW, FIELDS_OF_FILES, REMOVED, SCRIPTS, SETTINGS, VALUES, WORDING  # noqa: E402
from tests.textgen.stand_in_server import StandInServer  # noqa: E402

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
# What differs between two runs of one commit: times, versions, the commit.
VOLATILE = {
    "versions",
    "git_commit",
    "seconds",
    "minutes",
    "peak_memory",
    "created",
    "date",
    "transformers_version",
    *WORDING,
}


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


def translate(value, fields, parent=""):
    """`value` with the names of before as those of after; wording is free, so it is left out."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key not in REMOVED}
        names = fields | FIELDS_BELOW.get(parent, {})
        return {
            names.get(key, key): VALUES.get((key, str(one)), translate(one, fields, key)) for key, one in kept.items()
        }
    return [translate(one, fields, parent) for one in value] if isinstance(value, list) else value


def stable(value):
    """`value` without what two runs of one commit do not share."""
    if isinstance(value, dict):
        return {key: stable(one) for key, one in value.items() if key not in VOLATILE}
    return [stable(one) for one in value] if isinstance(value, list) else value


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(path: Path, places: dict[str, str]):
    """What is compared of a file; `places` are folders of this run, which stand under a name instead."""
    if path.suffix in (".json", ".yaml", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        for place, name in places.items():
            text = text.replace(place, name)
        if path.suffix == ".jsonl":
            return stable([json.loads(line) for line in text.splitlines()])
        return stable(yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: digest(arrays[name].tobytes()) for name in sorted(arrays)}
    return digest(path.read_bytes())


def files_of(folder: Path):
    """The files that are compared: weights, settings, facts, results, predictions, plans and corpora."""
    kept = ("model.safetensors", "statistics.safetensors", "results.json", "facts.json", "predictions.jsonl", "plan.jsonl",
            "corpus.jsonl", "removed.jsonl", "scores.jsonl", "config.yaml", "gap.json", "statistics.json", "statistics.npz",
            "official_results.json")  # fmt: skip
    if folder.is_file():
        return [folder]
    return [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and (p.name in kept or p.parent.name == "predicted") and "old" not in p.parts
    ]


def write_inputs(folder: Path) -> None:
    """Small inputs of each format, the same for both commits."""
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


def old_words(command: str) -> str:
    """A command in the words of before."""
    script, *settings = command.split(" ")
    out = []
    for setting in settings:
        for of, new, old in SETTINGS:
            if of in ("", script):
                setting = re.sub(new, old, setting)
        out.append(setting)
    return " ".join([SCRIPTS.get(script, script), *out])


@contextmanager
def checkout(commit: str):
    """The tree of a commit in a temporary folder."""
    folder = Path(tempfile.mkdtemp()) / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)
        shutil.rmtree(folder.parent)


def record(commit: str, is_before: bool, only: str = "") -> dict:
    """What a commit computes, by job and file."""
    out = {}
    with checkout(commit) as tree, tempfile.TemporaryDirectory() as here, StandInServer({}) as server:
        folder = Path(here)
        write_inputs(folder)
        environment = {
            **os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "key",
            "CLOSE_TRANSFER_CACHE": str(folder / "cache"),
        }  # fmt: skip
        for name, commands, read_from in jobs(server.base_url):
            if only and not re.search(only, name):
                continue
            said = ""
            for command in commands:
                words = (old_words(command) if is_before else command).split(" ")
                done = subprocess.run([sys.executable, tree / "scripts" / f"{words[0]}.py", *words[1:]], cwd=folder,
                                      env=environment, capture_output=True, text=True)  # fmt: skip
                if done.returncode:
                    said = f"exit {done.returncode}: {' '.join(words)}: {done.stderr[-600:]}"
            places = [name] if read_from is None else [read_from] if isinstance(read_from, str) else read_from
            found = {
                str(path.relative_to(folder)): read(path, {str(folder): "HERE", str(tree): "TREE"})
                for place in places
                for path in files_of(folder / place)
            }
            out[name] = found | ({"failed": said} if said else {})
            print(f"{commit[:8]} {name}: {len(found)} files {said}", flush=True)
    return out


def differences(before, after, where="") -> list[str]:
    """Each place where the two differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in sorted(before.keys() | after.keys(), key=str)
                for line in differences(before.get(key, "missing"), after.get(key, "missing"), f"{where}/{key}")]  # fmt: skip
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for n, pair in enumerate(zip(before, after, strict=True))
            for line in differences(*pair, f"{where}[{n}]")
        ]
    return [] if before == after else [f"{where}: {str(before)[:150]!r} and {str(after)[:150]!r}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*")
    parser.add_argument("--record", help="write what BEFORE computes, and end")
    parser.add_argument(
        "--new-words", action="store_true", help="of --record: the commit already has the names of AFTER"
    )
    parser.add_argument("--against", help="a file that --record wrote, in place of BEFORE")
    parser.add_argument("--with", dest="other", help="a file that --record --new-words wrote, in place of AFTER")
    parser.add_argument("--only", default="", help="a regular expression of job names")
    given = parser.parse_args()
    if given.record:
        Path(given.record).write_text(json.dumps(record(given.commits[0], not given.new_words, given.only)))
        return
    before = (
        json.loads(Path(given.against).read_text()) if given.against else record(given.commits[0], True, given.only)
    )
    if given.only:
        before = {name: value for name, value in before.items() if re.search(given.only, name)}
    if given.other:
        after = json.loads(Path(given.other).read_text())
        after = {name: value for name, value in after.items() if re.search(given.only, name)}
    else:
        after = json.loads(json.dumps(record(given.commits[-1], False, given.only)))
    before = {
        job: {
            name: translate(value, FIELDS | FIELDS_OF_FILES.get(Path(name).name, {})) for name, value in found.items()
        }
        for job, found in before.items()
    }
    lines = differences(stable(before), stable(after))
    num_files = sum(len(found) for found in before.values())
    print(*lines[:60], f"{len(before)} jobs, {num_files} files: {len(lines)} differences", sep="\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
