import json
import os
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.arrays import normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.keyword_probe import (
    build_keyword_matrix,
    check_noise_only,
    compute_average_precisions,
    score_probe,
)
from studies.commands import compose_config
from studies.config import RealSystemConfig, StudyRealVectorsConfig
from studies.real_baselines import NEAREST, find_nearest_captions, find_nearest_keywords
from studies.real_captions import caption_fold
from studies.real_pairs import Pairs, System, assign_folds, list_systems
from studies.real_vectors import fit_chains, run_study, score_probes

THINGS = ["dog", "cat", "boat", "horse"]


@pytest.fixture
def pairs(tmp_path):
    """Forty captions of four things; text vectors point at the thing, image vectors are shifted by a gap."""
    rng = np.random.default_rng(0)
    things = np.arange(40) % 4
    texts = np.eye(4, 16)[things] + 0.02 * rng.normal(size=(40, 16))
    images = texts + 2 * np.eye(16)[15] + 0.1 * rng.normal(size=(40, 16))
    captions = [f"an image of the {THINGS[thing]} number {i}" for i, thing in enumerate(things)]
    with (tmp_path / "captions.jsonl").open("w") as file:
        for caption, thing in zip(captions, things, strict=True):
            file.write(json.dumps({"caption": caption, "references": [caption, f"one {THINGS[thing]}"]}) + "\n")
    np.save(tmp_path / "caption_embeddings.npy", texts.astype(np.float32))
    np.save(tmp_path / "image_embeddings.npy", images.astype(np.float32))
    return tmp_path


def config(pairs, *settings):
    return compose_config(
        "study_real_vectors", StudyRealVectorsConfig, [f"pairs={pairs}", "seeds=1", "systems=[]", *settings]
    )


def test_average_precision_by_hand():
    # Relevant at ranks 1 and 3: (1/1 + 2/3) / 2; and at rank 2 of 3 only: 1/2.
    scores = np.array([[0.9, 0.5, 0.4], [0.9, 0.5, 0.4]])
    labels = np.array([[True, False, True], [False, True, False]])
    np.testing.assert_allclose(compute_average_precisions(scores, labels), [(1 + 2 / 3) / 2, 0.5])


def test_keywords_are_neither_rare_nor_everywhere():
    words, labels = build_keyword_matrix([["a dog here", "Dog!"], ["the dog here"], ["cat here"]], least=2, most=2)
    assert words == ["dog"]
    assert labels[:, 0].tolist() == [True, True, False]


def test_a_probe_learns_what_is_there_and_meets_the_gap():
    rng = np.random.default_rng(1)
    labels = rng.random((200, 3)) < 0.4
    vectors = labels @ rng.normal(size=(3, 24)) + 0.1 * rng.normal(size=(200, 24))
    told = labels[150:].any(axis=1)
    scores = score_probe(vectors[:150], labels[:150], vectors[150:], check_noise_only(24, 0.02), seed=0)
    assert compute_average_precisions(scores[told], labels[150:][told]).mean() > 0.95
    same = score_probe(vectors[:150], labels[:150], vectors[150:], check_noise_only(24, 0.02), seed=0)
    np.testing.assert_array_equal(scores, same)


def test_the_nearest_training_caption_is_of_another_fold_and_needs_no_training(pairs):
    read = Pairs.read(pairs)
    folds = assign_folds(40, 5)
    found = [read.captions.index(caption) for caption in find_nearest_captions(read, 5)]
    assert (folds[found] != folds).all()
    cosines = normalize_rows(read.images) @ normalize_rows(read.texts).T
    for picture, caption in enumerate(found):  # nothing of another fold is nearer
        assert cosines[picture, caption] == cosines[picture][folds != folds[picture]].max()
    assert np.mean([row % 4 == caption % 4 for row, caption in enumerate(found)]) > 0.9
    labels = np.eye(4, dtype=bool)[np.arange(40) % 4]
    scores = find_nearest_keywords(read, labels, 5)
    assert scores.shape == (40, 4)
    assert (scores.argmax(axis=1) == np.array(found) % 4).all()


def test_every_pair_is_in_one_fold():
    folds = assign_folds(500, 5)
    assert np.bincount(folds).tolist() == [100] * 5
    assert (folds != np.arange(500) % 5).any()


@pytest.mark.slow
def test_the_probe_alone_needs_no_language_model(pairs):
    settings = config(pairs, "noises=[0,0.1]", "least_keyword=5", "most_keyword=20", f"output={pairs / 'out'}")
    text = run_study(settings)
    results = json.loads((pairs / "out" / "tables.json").read_text())
    assert (pairs / "out" / "tables.md").read_text() == text
    ((title, table),) = results["tables"].items()
    assert "40 pairs, 5 folds, 1 seeds" in title
    assert list(table) == ["text, no noise", "text, noise 0.1", "images, no noise", NEAREST]
    for row in table.values():
        low, high = row["intervals"]["mAP"]
        assert low <= row["metrics"]["mAP"] <= high


def test_counts_that_differ_are_named(pairs):
    np.save(pairs / "image_embeddings.npy", np.ones((39, 16), dtype=np.float32))
    with pytest.raises(UserError, match="40 captions, 40 caption vectors and 39 image vectors"):
        Pairs.read(pairs)


def test_a_held_out_fold_is_captioned_from_its_pictures(pairs, finished_runs):
    from transformers import AutoTokenizer

    from close_transfer.models.network import TransferNetwork

    last = finished_runs / "captioning/latest/last"
    TransferNetwork.from_pretrained(last).lm.save_pretrained(pairs / "lm")
    AutoTokenizer.from_pretrained(last).save_pretrained(pairs / "lm")
    settings = config(
        pairs, f"language_model={pairs / 'lm'}", "epochs=1", "batch_size=8", "num_beams=1", "max_target_tokens=6"
    )
    for one in ({"noise": 0.1}, {"noise": "auto", "adapter": ("remove_mean",), "text_memory": True}):
        told = caption_fold(settings, System(RealSystemConfig(name="any", **one)), fold=2, seed=0)
        assert sorted(told) == np.flatnonzero(assign_folds(40, 5) == 2).tolist()
        assert all(isinstance(text, str) for text in told.values())


def test_systems_say_what_they_saw_and_are_kept_by_what_they_are(pairs):
    named = (
        "systems=[{name: a, noise: auto}, {name: b, noise: auto-unpaired}, {name: c, noise: 0.1, adapter: [remove_mean]},"
        "{name: d, noise: auto-paired}]"
    )
    settings = config(pairs, named, "noises=[0,0.02]")
    found = {one.name: one for one in list_systems(settings)}
    assert {name: one.data_regime for name, one in found.items()} == {
        "text, no noise": "T0", "text, noise 0.02": "T0", "a": "T0", "b": "T1", "c": "T1", "d": "T4",
        "images, no noise": "T4",
    }  # fmt: skip
    assert found["text, noise 0.02"].make_file_name(settings) == "text-0.02"
    assert len({one.make_file_name(settings) for one in found.values()}) == len(found)
    fewer = settings.model_copy(update={"num_pairs": 7})
    changed = {name for name, one in found.items() if one.make_file_name(fewer) != one.make_file_name(settings)}
    assert changed == {"d"}


@pytest.mark.slow
def test_the_probe_takes_adapters_and_memory(pairs):
    settings = config(
        pairs, "noises=[0,0.1]", "least_keyword=5", "most_keyword=20", f"output={pairs / 'out'}",
        "systems=[{name: moved, noise: auto, adapter: [remove_mean]}, {name: remembered, noise: 0.1, text_memory: true},"
        "{name: seen, noise: auto-unpaired}]",
    )  # fmt: skip
    read = Pairs.read(pairs)
    table = score_probes(settings, read, fit_chains(settings, read))
    named = ["text, no noise", "text, noise 0.1", "moved", "remembered", "seen", "images, no noise"]
    assert list(table) == [*named, NEAREST]
    assert all(0 < row["metrics"]["mAP"] <= 100 for row in table.values())
    assert [row["data_regime"] for row in table.values()] == ["T0", "T0", "T1", "T0", "T1", "T4", "T0"]


@pytest.mark.slow
@pytest.mark.skipif(
    "CLOSE_TRANSFER_DATA" not in os.environ, reason="CLOSE_TRANSFER_DATA names no folder with real data"
)
def test_noise_helps_on_real_clip_vectors(tmp_path):
    folder = Path(os.environ["CLOSE_TRANSFER_DATA"], "coco_clip_vit_b16")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    pairs = Pairs.read(folder)
    settings = config(folder, "noises=[0,0.08]", "folds=2")
    table = score_probes(settings, pairs, fit_chains(settings, pairs))
    _, low, high = table["text, noise 0.08"]["differences"]["no noise"]
    assert 5 < low < high
