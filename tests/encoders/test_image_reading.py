"""Images read in threads or worker processes: the same vectors and errors, and no process that is left."""

import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.data.image_files import explain_unreadable, open_image, read_image
from close_transfer.data.sources.images import TableImageOpener
from close_transfer.encoders import OpenClipEncoder, image_reading
from close_transfer.encoders.image_reading import ImageReader, count_processes
from tests.conftest import REPOSITORY
from tests.settings import make_encoder

RNG = np.random.default_rng(0)


def write_images(number, size=(40, 30)):
    paths = [Path(f"{i:03}.png") for i in range(number)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return paths


def read_all(reader, groups, num_workers):
    parts = [images for images, _ in reader.read(groups, num_workers)]
    return [image for images in parts for image in images]


TRANSFORMS = {
    "open_clip": open_clip.transform.image_transform(32, is_train=False, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    "open_clip, squashed": open_clip.transform.image_transform(32, is_train=False, resize_mode="squash"),
    "timm": timm.data.create_transform((3, 32, 32), is_training=False),
    "another": lambda image: TRANSFORMS["timm"](image),
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_is_normalised_as_each_image_to_the_last_bit(name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    # All values of a byte, in every channel.
    levels = np.resize(np.arange(256, dtype=np.uint8), (48, 32, 3))
    images = [Image.fromarray(levels), Image.fromarray(levels[::-1].copy()), Image.new("L", (9, 70), 77).convert("RGB")]
    reader = ImageReader(TRANSFORMS[name], 4, device)
    batch = reader.stack(read_all(reader, [[image.copy for image in images]], 0))
    assert batch.is_contiguous()
    assert torch.equal(batch.cpu(), torch.stack([TRANSFORMS[name](image) for image in images]))


def test_only_many_images_for_a_gpu_are_read_in_processes(monkeypatch):
    monkeypatch.setattr(image_reading, "count_cores", lambda: 4)
    counts = [
        count_processes(*given) for given in [("auto", 10**6, "cpu"), ("auto", 10, "cuda"), ("auto", 10**6, "cuda")]
    ]
    assert counts == [0, 0, 3]
    assert [count_processes(5, number, "cpu") for number in (None, 100, 9, 0)] == [5, 5, 2, 0]


@pytest.fixture(scope="module")
def encoder():
    return OpenClipEncoder(make_encoder(batch_size=8))


def encode(encoder, groups, num_workers=0):
    openers = [[partial(open_image, path) for path in group] for group in groups]
    return list(encoder.encode_image_groups(openers, num_workers, skip_unreadable=True))


def test_unreadable_images_are_left_out_of_their_batch(encoder):
    paths = write_images(12)
    Path("bad.png").write_bytes(b"no image")
    expected = np.concatenate([encoder.encode_images([open_image(path) for path in paths[s : s + 8]]) for s in (0, 8)])
    first, empty, last = encode(encoder, [[*paths[:3], Path("bad.png"), *paths[3:]], [Path("bad.png")], paths[:1]])
    np.testing.assert_array_equal(first.vectors, expected)
    assert list(first.unreadable) == [3]
    assert explain_unreadable(first.unreadable[3]).startswith("not an image")
    assert (len(empty.vectors), list(empty.unreadable), len(last.vectors)) == (0, [0], 1)
    with pytest.raises(UserError, match=r"^bad\.png: cannot be read as an image"):
        list(
            encoder.encode_image_groups(
                [[partial(open_image, Path(path))] for path in (paths[0], "bad.png", "gone.png")]
            )
        )


def write_odd_images():
    """Write images of every kind that is refused or changed on opening."""
    paths = write_images(20)
    Image.new("RGB", (30, 30), "red").save("disguised.png", format="EPS")
    Path("bad.png").write_bytes(b"no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RNG.integers(0, 256, (20, 40, 3), dtype=np.uint8)).save("turned.jpg", exif=exif)
    Image.fromarray(RNG.integers(0, 2**16, (20, 40), dtype=np.uint16)).save("grey.tiff")
    Image.new("1", (20000, 10000)).save("bomb.png")
    Image.new("L", (2, 2000)).save("long.png")
    odd = ["turned.jpg", "disguised.png", "grey.tiff", "bomb.png", "bad.png", "long.png", "gone.png"]
    return [*paths[:5], *map(Path, odd), *paths[5:]]


@pytest.mark.slow  # processes import torch, which takes seconds
def test_processes_give_the_same_vectors_and_errors(encoder):
    paths = write_odd_images()
    groups = [paths[:14], [Path("bad.png")], paths[14:]]
    in_threads, in_processes = encode(encoder, groups), encode(encoder, groups, 2)
    assert len(in_threads[0].unreadable) == 5
    for one, other in zip(in_threads, in_processes, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)
        assert [(at, str(e), explain_unreadable(e)) for at, e in one.unreadable.items()] == [
            (at, str(e), explain_unreadable(e)) for at, e in other.unreadable.items()
        ]
    openers = [[partial(open_image, path) for path in paths]]
    with pytest.raises(UserError, match=r"^disguised\.png: cannot be read as an image"):
        list(encoder.encode_image_groups(openers, 2))


def end_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_is_reported(encoder):
    with pytest.raises(UserError, match="image_workers=0"):
        list(encoder.encode_image_groups([[end_itself]], 1))


PROGRAM = """
from pathlib import Path
from tests.encoders.test_image_reading import OpenClipEncoder, make_encoder, open_slowly

if __name__ == "__main__":
    encoder = OpenClipEncoder(make_encoder(batch_size=8))
    for _ in encoder.encode_image_groups([[open_slowly]] * 100000, 2):
        Path("begun").touch()
"""


def open_slowly():
    Path(f"worker-{os.getpid()}").touch()
    time.sleep(0.01)
    return Image.new("RGB", (8, 8))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("end", ["kill", "Ctrl-C"])
def test_no_process_is_left(end):
    Path("program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "program.py"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        deadline = time.monotonic() + 120
        while not Path("begun").exists() and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [int(path.name.partition("-")[2]) for path in Path().glob("worker-*")]
        assert program.poll() is None
        assert workers
        assert program.pid not in workers
        if end == "kill":
            program.kill()
        else:
            os.killpg(program.pid, signal.SIGINT)  # a terminal sends it to the workers too
        _, errors = program.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
    if end == "Ctrl-C":
        assert errors.count("Traceback") == 1  # the program's own


def test_an_image_of_a_table_is_pickled_as_its_bytes():
    (path,) = write_images(1)
    table = {"rows": [b"x" * 10**6], "not for pickles": open(path, "rb")}  # noqa: SIM115

    def read(row):
        if row:
            raise UserError(f"row {row}: no image")
        return partial(read_image, table["not for pickles"].read(), "row 0")

    pickled = pickle.dumps(TableImageOpener(partial(read, 0)))
    table["not for pickles"].close()
    assert len(pickled) < 10**5
    np.testing.assert_array_equal(pickle.loads(pickled)(), open_image(path))
    with pytest.raises(UserError, match="row 1: no image"):
        pickle.loads(pickle.dumps(TableImageOpener(partial(read, 1))))()
