import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from close_transfer.core.atomic_files import WriteError, read_json
from close_transfer.core.digests import pack_digests
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, ImageRef
from close_transfer.encoders import embedding_cache
from close_transfer.encoders.embedding_cache import EmbeddingCache
from close_transfer.encoders.embeddings import encode_image_refs, encode_text_scenes, encode_texts
from close_transfer.encoders.encoder import ImageGroup
from tests.settings import make_embedding_cache


class CountingEncoder:
    """Stands in for an encoder and counts what it is asked; a vector is the text's letters summed."""

    name = "counting stand-in"
    dim = 3

    def __init__(self, key="key one"):
        self.text_key = self.image_key = key
        self.asked: list[str] = []

    def encode_texts(self, texts):
        self.asked += texts
        return np.array([[len(t), sum(map(ord, t)), 7.5] for t in texts], dtype=np.float32)

    def encode_text_groups(self, groups):
        return map(self.encode_texts, groups)

    def encode_images(self, images):
        images = list(images)
        self.asked += [str(i) for i in images]
        return np.stack([np.asarray(i, dtype=np.float32).mean(axis=(0, 1)) for i in images])

    def encode_image_groups(self, groups, num_workers=0, num_images=None, skip_unreadable=False):
        for group in groups:
            yield ImageGroup(self.encode_images(opener() for opener in group), {})


@pytest.fixture
def config(tmp_path):
    return make_embedding_cache(tmp_path / "store")


def shards(config):
    return sorted(Path(config.folder).rglob("*.vectors.npy"))


def test_unique_texts_once_and_never_again(config):
    encoder = CountingEncoder()
    matrix, rows = encode_texts(encoder, ["a", "b", "a", "c", "b"], config)
    assert sorted(encoder.asked) == ["a", "b", "c"]
    assert (rows[0], rows[1]) == (rows[2], rows[4])
    np.testing.assert_array_equal(matrix.gather(rows), [[1, ord(text), 7.5] for text in "abacb"])
    encode_texts(encoder, ["c", "a", "d"], config)
    assert sorted(encoder.asked) == ["a", "b", "c", "d"]


def test_raw_vectors_are_kept_by_memory_map(config):
    encoder = CountingEncoder()
    encode_texts(encoder, ["abc"], config)
    stored = np.load(shards(config)[0], mmap_mode="r")
    assert isinstance(stored, np.memmap)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, encoder.encode_texts(["abc"]))


def test_half_precision_on_disk_float32_in_hand(config):
    table, _ = encode_texts(CountingEncoder(), ["abc"], config.model_copy(update={"dtype": "float16"}))
    assert np.load(shards(config)[0]).dtype == np.float16
    assert table.gather(np.array([0])).dtype == np.float32


def test_another_encoder_has_its_own_vectors(config):
    encode_texts(CountingEncoder(), ["a"], config)
    other = CountingEncoder(key="key two")
    encode_texts(other, ["a"], config)
    assert other.asked == ["a"]


@pytest.mark.parametrize("damage", ["flip a byte", "cut short", "remove", "foreign keys"])
def test_damaged_shards_are_found_and_encoded_again(config, damage):
    encode_texts(CountingEncoder(), ["a", "b"], config)
    shard = shards(config)[0]
    if damage == "flip a byte":
        content = bytearray(shard.read_bytes())
        content[-3] ^= 1
        shard.write_bytes(content)
    elif damage == "cut short":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif damage == "remove":
        shard.unlink()
    else:
        keys = next(Path(config.folder).rglob("*.keys.npy"))
        np.save(keys, np.zeros((2, 16), dtype=np.uint8))
    again = CountingEncoder()
    matrix, rows = encode_texts(again, ["a", "b"], config)
    assert sorted(again.asked) == ["a", "b"]
    np.testing.assert_array_equal(matrix.gather(rows[:1]), [[1, ord("a"), 7.5]])


def test_a_store_of_another_key_is_not_trusted(config):
    cache = EmbeddingCache(config, "k" * 24 + "one", "first")
    cache.load_or_encode(
        pack_digests([b"a" * 16]), lambda groups: (np.ones((1, 2), dtype=np.float32) for _ in groups), "text"
    )
    same_folder = EmbeddingCache(config, "k" * 24 + "two", "second")
    table, _ = same_folder.load_or_encode(
        pack_digests([b"a" * 16]), lambda groups: (np.full((1, 2), 9, dtype=np.float32) for _ in groups), "text"
    )
    assert same_folder.num_damaged == 1
    assert table.gather(np.array([0])).tolist() == [[9, 9]]


def test_what_was_encoded_before_a_kill_is_kept(config):
    config = config.model_copy(update={"shard_rows": 2})

    class Dying(CountingEncoder):
        def encode_texts(self, texts):
            if "e" in texts:
                raise KeyboardInterrupt
            return super().encode_texts(texts)

    with pytest.raises(KeyboardInterrupt):
        encode_texts(Dying(), ["a", "b", "c", "d", "e"], config)
    again = CountingEncoder()
    _, rows = encode_texts(again, ["a", "b", "c", "d", "e"], config)
    assert again.asked == ["e"]
    assert sorted(rows) == [0, 1, 2, 3, 4]
    manifest = read_json(next(Path(config.folder).rglob("manifest.json")))
    assert sum(shard["rows"] for shard in manifest["shards"]) == 5
    assert not list(Path(config.folder).rglob("*.tmp"))


def test_the_encoder_continues_after_the_last_group(config):
    ended = []

    def encode(groups):
        for group in groups:
            yield np.ones((len(group), 2), dtype=np.float32)
        ended.append(True)

    EmbeddingCache(config, "key", "encoder").load_or_encode(pack_digests([b"a" * 16, b"b" * 16]), encode, "text")
    assert ended == [True]


def test_rows_may_be_several_vectors(config):
    cache = EmbeddingCache(config, "grid", "grid features")
    grid = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    table, _ = cache.load_or_encode(
        pack_digests([b"a" * 16, b"b" * 16]), lambda groups: (grid[group] for group in groups), "image"
    )
    np.testing.assert_array_equal(table.gather(np.array([1, 0])), grid[::-1])


def test_numbers_that_are_not_finite_are_refused(config):
    class Overflowing(CountingEncoder):
        def encode_texts(self, texts):
            return np.full((len(texts), 3), np.inf, dtype=np.float32)

    with pytest.raises(UserError, match="NaN or infinity for 1 items"):
        encode_texts(Overflowing(), ["a"], config)
    assert not shards(config)


def test_captions_of_a_scene_are_averaged_before_normalising(config):
    scenes = encode_text_scenes(CountingEncoder(), [Example("x", ("a", "abc")), Example("y", ("b",))], config)
    one, two = (CountingEncoder().encode_texts([t])[0] for t in ("a", "abc"))
    np.testing.assert_allclose(scenes[np.array([0])], [(one + two) / 2])


def test_images_are_opened_once(config):
    from PIL import Image

    opened = []

    def ref(name):
        def open_it():
            opened.append(name)
            return Image.new("RGB", (2, 2), (len(name), 0, 0))

        return ImageRef(name, open_it, lambda: name)

    for _ in range(2):
        encode_image_refs(CountingEncoder(), [ref("one"), ref("three"), ref("one")], config)
    assert sorted(opened) == ["one", "three"]


class Killed(BaseException):
    pass


class Watched(CountingEncoder):
    """Vectors that depend on what is encoded together, as those of real encoders do in the last bits."""

    def __init__(self, dies_at=None):
        super().__init__()
        self.calls, self.dies_at = 0, dies_at

    def encode_texts(self, texts):
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed
        return super().encode_texts(texts) + np.float32(sum(map(len, texts)))


def contents(config):
    return {p.name: p.read_bytes() for p in Path(config.folder).rglob("*") if p.is_file()}


TEXTS = [f"text {'x' * (i % 7)} {i}" for i in range(23)]


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_shards_and_manifest_after_kills_are_those_of_an_uninterrupted_run(tmp_path, dies_at):
    whole, killed = (make_embedding_cache(tmp_path / n, shard_rows=4) for n in ("a", "b"))
    for config in (whole, killed):  # what another split has encoded already changes no boundary
        encode_texts(Watched(), TEXTS[5:7], config)
    encode_texts(Watched(), TEXTS, whole)
    with pytest.raises(Killed):
        encode_texts(Watched(dies_at), TEXTS, killed)
    encode_texts(Watched(), TEXTS, killed)
    assert contents(whole) == contents(killed)


def test_a_shard_that_the_manifest_does_not_name_yet_is_written_again_the_same(tmp_path, monkeypatch):
    whole, killed = (make_embedding_cache(tmp_path / n, shard_rows=4) for n in ("a", "b"))
    encode_texts(Watched(), TEXTS, whole)
    with monkeypatch.context() as patched:
        patched.setattr(embedding_cache, "write_json", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            encode_texts(Watched(), TEXTS, killed)
    (shards(killed)[0].parent / ".shard-1.npy.x7.tmp").write_bytes(b"half of it")
    encode_texts(Watched(), TEXTS, killed)
    assert contents(whole) == contents(killed)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"shards": 3}', '{"key": "key one", "format": 1, "shards": [{}]}'])
def test_a_damaged_manifest_is_noticed_and_reported(config, damage, capsys):
    encode_texts(CountingEncoder(), ["a", "b"], config)
    assert "damaged" not in capsys.readouterr().err
    next(Path(config.folder).rglob("manifest.json")).write_text(damage)
    again = CountingEncoder()
    encode_texts(again, ["a", "b"], config)
    assert sorted(again.asked) == ["a", "b"]
    assert "1 shards of vectors in" in (told := capsys.readouterr().err)
    assert "were incomplete or damaged; encoding 2 texts" in told


def test_images_of_the_same_content_share_a_vector(config):
    from PIL import Image

    refs = [ImageRef(key, lambda: Image.new("RGB", (2, 2)), lambda: "same") for key in ("one.jpg", "copy.jpg")]
    _, row_of = encode_image_refs(CountingEncoder(), refs, config)
    assert row_of["one.jpg"] == row_of["copy.jpg"]


def test_the_lock_ends_with_the_process_that_held_it(config):
    encode_texts(CountingEncoder(), ["a"], config)
    folder = shards(config)[0].parent
    program = f"from filelock import FileLock; lock = FileLock({str(folder / 'lock')!r}); lock.acquire(); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        lock = FileLock(folder / "lock")
        with pytest.raises(Timeout):
            lock.acquire(blocking=False)
        process.kill()
        process.wait()
        assert sorted(encode_texts(CountingEncoder(), ["a", "b"], config)[1]) == [0, 1]


def test_a_full_disk_keeps_every_finished_shard(tmp_path, monkeypatch):
    config = make_embedding_cache(tmp_path, shard_rows=4)
    write, calls = Path.write_bytes, []

    def fills_up(path, content):
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fills_up)
        with pytest.raises(WriteError, match=r"No space left on device; .* MB are free there"):
            encode_texts(Watched(), TEXTS, config)
    again = Watched()
    encode_texts(again, TEXTS, config)
    assert len(again.asked) == len(TEXTS) - 8
