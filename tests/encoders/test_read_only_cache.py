import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.encoders.embeddings import encode_texts
from tests.encoders.test_embeddings import CountingEncoder
from tests.settings import make_embedding_cache


@contextmanager
def only_reading(folder):
    """Take the right to write into a folder away; root, which needs no right, becomes another user meanwhile."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65_534)
    try:
        if os.access(folder, os.W_OK, effective_ids=True):
            pytest.skip("this user can write into read-only folders")
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def test_a_complete_cache_of_somebody_else_is_read():
    # Not in the tests' own folder, which other users cannot enter.
    with tempfile.TemporaryDirectory() as there:
        Path(there).chmod(0o755)
        config = make_embedding_cache(Path(there) / "store")
        expected = encode_texts(CountingEncoder(), ["a", "b"], config)[0].gather(np.array([0, 1]))
        encoder = CountingEncoder()
        with only_reading(Path(there)):
            table, _ = encode_texts(encoder, ["a", "b"], config)
            np.testing.assert_array_equal(table.gather(np.array([0, 1])), expected)
            assert not encoder.asked
            with pytest.raises(
                UserError, match=r"the cache lacks 1 texts and cannot be written to\. Give another folder"
            ):
                encode_texts(encoder, ["a", "c"], config)
            with pytest.raises(WriteError, match="could not be written"):  # there is no such cache yet
                encode_texts(CountingEncoder("another key"), ["a"], config)
        assert not encoder.asked
