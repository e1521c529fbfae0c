"""Tests of whole commands with malformed settings, documents, tables, vectors and images.

A command must exit with status 2 and name the fault and its place, or use and count everything. It never prints a
traceback.
"""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run_command
from tests.conftest import SMALL_DATA
from tests.data.sources.made import annotation, annotations, official, questions
from tests.malformed.damage import FILES, caption
from tests.malformed.damage_commands import (
    ONE_STEP,
    SETTINGS,
    USABLE,
    document_cases,
    refused,
    train,
    vectors,
)
from tests.malformed.test_readers import UNREADABLE, cell_rows, fits, json_rows
from tests.markers import mostly_slow

CASES = {name: make() for name, make in FILES.items()}
# -- settings


@pytest.mark.parametrize(("script", "setting", "named"), mostly_slow(SETTINGS, every=5), ids=range(len(SETTINGS)))
def test_settings(finished_runs, script, setting, named):
    Path("file").touch()
    good = {
        "train_text_only": [*SMALL_DATA, *ONE_STEP],
        "eval_image": [f"runs={finished_runs}", "task=vqa", "device=cpu"],
        "predict": [f"runs={finished_runs}", f"embeddings={vectors()}", "device=cpu"],
        "score_predictions": ["predictions=p.json", "references=r.json", "output=scored"],
        "pretrain_lm": ["text=t.txt", "output=lm"],
        "compare_results": ["results=r.json"],
    }
    before = Path("vectors.npy").read_bytes() if script == "predict" else b""
    assert refused(run_command(script, *good.get(script, []), setting), named)
    assert not before or Path("vectors.npy").read_bytes() == before


@pytest.mark.parametrize(("setting", "key", "value"), USABLE, ids=range(len(USABLE)))
def test_odd_settings_are_used_as_written(setting, key, value):
    ended, used, _ = train(*SMALL_DATA, setting)
    assert not refused(ended)
    assert used[key] == value


# -- JSON documents

COCO = official({n: [caption(n), f"A cat and {n} birds"] for n in range(1, 9)})
NAMES = range(101, 107)
ASKED = questions([(n, 5, "what is it?") for n in NAMES])
ANSWERED = annotations([annotation(n, 5, ["red"] * 10) for n in NAMES])
PREDICTED = [{"question_id": n, "answer": "red"} for n in NAMES]

BAD_PICTURES = [
    "null", "[]", '{"id": true, "file_name": "a.jpg"}', '{"id": 1.5, "file_name": "a.jpg"}', '{"id": 1, "file_name": "a.jpg"}',
    '{"id": 90, "file_name": 5}', '{"id": 90, "file_name": "a\\u0000b"}', '{"id": 90, "file_name": "a.jpg", "id": 91}',
]  # fmt: skip
BAD_CAPTIONS = [
    '"A dog"', "NaN", '{"image_id": 999, "caption": "A dog"}', '{"image_id": 1, "caption": null}', '{"image_id": 1, "caption": ["A dog"]}',
    '{"image_id": 1, "caption": "\\ud800"}', '{"image_id": 1, "caption": 1e999}', '{"image_id": [1], "caption": "A dog"}', '{"image_id": -1e999, "caption": "A dog"}',
]  # fmt: skip
BAD_QUESTIONS = ["null", '{"question_id": 101, "image_id": 5, "question": "again?"}', '{"question_id": 109, "image_id": 5, "question": "\\ud800"}',
    '{"question_id": {}, "image_id": 5, "question": "what?"}', '{"question_id": 109, "image_id": 5, "question": "no answers?"}']  # fmt: skip
BAD_ANSWERS = ["5", '{"question_id": 109, "answers": {}}', '{"question_id": 109, "answer_type": "other", "question_type": "what", "answers": []}',
    '{"question_id": 109, "answer_type": "other", "question_type": "what", "answers": [{"answer": NaN}]}', '{"question_id": 101.5}']  # fmt: skip
BAD_PREDICTIONS = ["null", "[[1]]", '{"question_id": 101, "answer": "blue"}', '{"question_id": 999, "answer": "red"}', '{"question_id": 1e400, "answer": "red"}',
    '{"question_id": 101, "answer": {"a": 1}}', '{"question_id": 101}', '{"question_id": 109, "answer": "a\\u0000b"}']  # fmt: skip

DOCUMENTS = {
    "captions": document_cases(COCO, {"images": BAD_PICTURES, "annotations": BAD_CAPTIONS}, seed=1),
    "questions": document_cases(ASKED, {"questions": BAD_QUESTIONS}, seed=2),
    "annotations": document_cases(ANSWERED, {"annotations": BAD_ANSWERS}, seed=3),
    "predictions": document_cases(PREDICTED, {"": BAD_PREDICTIONS}, seed=4),
}


def entries(content, key):
    document = json.loads(content.decode("utf-8-sig"))
    return document[key] if key else document


@pytest.mark.parametrize("case", mostly_slow(DOCUMENTS["captions"], every=5))
def test_captions(case):
    content = DOCUMENTS["captions"][case]
    Path("bad.json").write_bytes(content)
    Path("good.json").write_text(json.dumps(COCO))
    settings = ["data=coco", "data.root=.", "data.files={train: bad.json, val: good.json}"]
    ended, _, facts = train(*settings)
    strict = refused(ended, "bad.json")
    if not strict:
        assert facts["num_examples"] == len(entries(content, "annotations"))
    ended, _, facts = train(*settings, "data.on_bad_rows=skip", "output=lenient")
    if not refused(ended, "bad.json"):
        listed = [entries(content, key) for key in ("images", "annotations")]
        assert facts["num_examples"] + facts["num_skipped"] >= len(listed[1])
        if not case.startswith("damaged"):
            assert facts["num_examples"] == 16
            assert facts["num_skipped"] == sum(map(len, listed)) - 24
    prepared = run_command("check_data", *settings)
    assert prepared.status == 1  # its word for data that are not complete
    assert "Traceback" not in prepared.err
    assert ("CANNOT BE READ" in prepared.out or "DAMAGED" in prepared.out) == strict
    assert "bad.json" in prepared.out


@pytest.mark.parametrize(
    ("kind", "case"),
    mostly_slow([(k, c) for k in ("questions", "annotations", "predictions") for c in DOCUMENTS[k]], every=5),
)
def test_questions_answers_and_predictions(kind, case):
    for name, document in (("questions", ASKED), ("annotations", ANSWERED), ("predictions", PREDICTED)):
        Path(f"{name}.json").write_text(json.dumps(document))
    content = DOCUMENTS[kind][case]
    Path(f"{kind}.json").write_bytes(content)
    files = ["predictions=predictions.json", "references=annotations.json", "questions=questions.json"]
    ended = run_command("score_predictions", "task=vqa", *files, "output=scored", "num_bootstrap=2")
    if not refused(ended, f"{kind}.json"):
        results = json.loads(Path("scored/results.json").read_text())
        assert results["num_examples"] == len(entries(content, "" if kind == "predictions" else kind)) == len(NAMES)
        assert results["num_skipped"] == 0


# -- tables, vectors and images


def sampled(name, number):
    names = sorted(CASES[name])
    return [
        (name, names[i]) for i in np.random.default_rng([5, *name.encode()]).choice(len(names), number, replace=False)
    ]


@pytest.mark.parametrize(
    ("name", "case"),
    [pair for name in ("bad.jsonl", "bad.csv", "bad.tsv", "bad.jsonl.gz") for pair in sampled(name, 7)],
)
def test_tables(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    Path("val.txt").write_text("A dog\nA cat\n")
    ended, _, facts = train("data=file", f"data.path={name}", "data.val_path=val.txt")
    if not refused(ended, name):
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        rows = json_rows(content) if "json" in name else cell_rows(content, "\t" if "tsv" in name else ",")
        assert not content.startswith(UNREADABLE)
        assert facts["num_examples"] == sum(len(set(texts)) for texts in rows)
        assert facts["num_skipped"] == 0


def usable_array(content):
    """Return the array of a .npy file; None if it cannot be read or does not contain vectors."""
    file = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception:
        return None
    return None if file.read(1) or not fits(array) else array


@pytest.mark.parametrize(("name", "case"), [*sampled("bad.npy", 6), *sampled("bad.safetensors", 6)])
def test_vectors_to_train_on(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    Path("six.txt").write_text("".join(f"{caption(n)}\n" for n in range(6)))
    ended, _, facts = train(
        "data=file", "data.path=six.txt", "data.val_share=0.2", "clip=precomputed", f"clip.text_embeddings={name}"
    )
    if not refused(ended, name):
        assert facts["num_examples"] == 5
        assert "npy" not in name or len(usable_array(content)) == 6


@pytest.mark.parametrize(("name", "case"), [*sampled("bad.npy", 6), *sampled("bad.safetensors", 6)])
def test_vectors_to_predict_from(finished_runs, name, case):
    Path(name).write_bytes(CASES[name][case])
    ended = run_command("predict", f"runs={finished_runs}", f"embeddings={name}", "device=cpu", "num_beams=1")
    assert refused(ended, name)  # even good vectors do not have the width of the run's encoder
    assert not Path("predictions.jsonl").exists()


def test_images_in_a_folder_are_all_answered_or_named(finished_runs):
    Path("folder").mkdir()
    for case, content in CASES["bad.png"].items():
        Path("folder", f"{case}.png").write_bytes(content)
    settings = [f"runs={finished_runs}", "device=cpu", "num_beams=1"]
    assert not refused(run_command("predict", *settings, "images=folder"))
    answered, unread = (
        [json.loads(line)["id"] for line in Path(name).read_text().splitlines()]
        for name in ("predictions.jsonl", "predictions.jsonl.unreadable.jsonl")
    )
    assert sorted(answered + unread) == sorted(f"{case}.png" for case in CASES["bad.png"])
    for name in unread[:3]:
        assert refused(run_command("predict", *settings, f"images=folder/{name}"), name)
