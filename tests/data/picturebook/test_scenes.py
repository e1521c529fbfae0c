import hashlib
import os
import subprocess
import sys

import pytest

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.hypotheses import hypotheses
from close_transfer.data.picturebook.questions import questions
from close_transfer.data.picturebook.scenes import SPLITS, is_novel, scenes
from tests.conftest import REPOSITORY


def test_the_world_is_as_rich_as_promised():
    drawn = scenes("train", 2000)
    assert len({t.kind for s in drawn for t in s.things}) >= 14
    assert {k.hypernym[0] for k in world.KINDS.values()} >= {"animal", "vehicle", "plant", "building", "toy", "person"}
    assert len({t.colour for s in drawn for t in s.things}) == 10
    assert {t.size for s in drawn for t in s.things} == {"small", "medium", "large"}
    assert {t.count for s in drawn for t in s.things} == {1, 2, 3, 4}
    assert all(1 <= sum(t.count for t in s.things) <= 4 for s in drawn)
    assert {s.relation for s in drawn} == {None, "left of", "above", "on", "in front of"}
    assert len({s.place for s in drawn}) >= 6
    assert len({s.time for s in drawn} - {None}) == 3


def test_no_scene_is_in_two_splits():
    content = {split: {s.content for s in scenes(split, 1500)} for split in SPLITS}
    for first in SPLITS:
        for second in SPLITS:
            assert first == second or not content[first] & content[second], (first, second)


def test_no_scene_is_in_two_splits_whatever_the_seeds():
    train = {s.content for s in scenes("train", 1500, seed=0)}
    assert not train & {s.content for s in scenes("test", 1500, seed=7)}


def test_novel_pairs_never_occur_in_train():
    trained = {pair for s in scenes("train", 4000) for pair in s.pairs}
    novel = {pair for s in scenes("test-novel", 500) for pair in s.pairs}
    assert novel
    assert not trained & novel
    assert {kind for kind, _ in novel} <= {kind for kind, _ in trained}, "each kind is known in other colours"
    assert {colour for _, colour in novel} <= {colour for _, colour in trained}, "each colour is known on other kinds"


def test_every_kind_has_novel_colours_and_every_colour_novel_kinds():
    for kind in world.KINDS:
        assert sum(is_novel(kind, colour) for colour in world.COLOURS) == 2
    for colour in world.COLOURS:
        assert any(is_novel(kind, colour) for kind in world.KINDS)


def test_more_scenes_begin_with_the_same_ones():
    assert scenes("val", 30)[:10] == scenes("val", 10)


def test_another_seed_gives_other_scenes():
    assert scenes("val", 10, seed=1) != scenes("val", 10, seed=0)


def test_unknown_split_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no Picturebook split 'dev'.*test-novel"):
        scenes("dev", 1)


def world_fingerprint() -> str:
    """A digest of everything the world makes of a few scenes: pictures, captions, claims, questions."""
    chosen = scenes("test", 40)
    digest = hashlib.sha256()
    for scene in chosen[:12]:
        digest.update(draw_scene(scene, 64).tobytes())
        digest.update(repr([caption.text for caption in captions(scene)]).encode())
    digest.update(repr(hypotheses(chosen, 0, 20)).encode())
    digest.update(repr(questions(chosen, 0, 20)).encode())
    return digest.hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_same_seed_same_bytes_in_any_process(hash_seed):
    code = "from tests.data.picturebook.test_scenes import world_fingerprint; print(world_fingerprint())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(REPOSITORY)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert printed.stdout.strip() == world_fingerprint()
