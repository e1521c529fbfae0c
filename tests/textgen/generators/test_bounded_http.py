"""Bounded reading of answers: compressed ones, and ones without end."""

import gzip
import itertools
import resource
import zlib

import openai
import pytest

from close_transfer.core.errors import UserError
from tests.textgen.odd_server import make_completion, serve_odd
from textgen.generators.bounded_http import UnreadableBody, make_http_client

MEBIBYTE = 2**20


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def read_peak():
    """Return the largest memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check_refused(made, words):
    """Check that no answer is readable, in little memory and a small journal."""
    peak = read_peak()
    with pytest.raises(UserError, match=words):  # no answer was readable
        made.ask("max_attempts=2", "concurrency=1")
    assert read_peak() - peak < 100 * MEBIBYTE
    assert made.journal.stat().st_size < 20_000
    faults = made.events("fault")
    assert [(event["fault"], event["paid"]) for event in faults] == [("unreadable body", "reserved")] * 2
    assert words in faults[0]["detail"]


def test_a_small_answer_that_unpacks_to_a_large_one_costs_no_memory(corpus):
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([*(packer.compress(b" " * MEBIBYTE) for _ in range(200)), packer.flush()])
    with serve_odd(lambda _: (200, {"Content-Encoding": "gzip"}, bomb)) as server:
        check_refused(corpus(server, num_texts=1), "is larger than 1,073,152 bytes, and reading ended there")


def test_an_answer_without_end_is_not_read_to_the_end(corpus):
    with serve_odd(lambda _: (200, {}, itertools.repeat(b" " * 65_536))) as server:
        check_refused(corpus(server, num_texts=1), "reading ended there")
        assert server.num_sent < 40 * MEBIBYTE


@pytest.mark.parametrize("encoding", ["br", *map(slow, ("gzip, gzip", "x" * 1000))])
def test_a_compression_that_was_not_asked_for_is_refused(encoding, corpus):
    with serve_odd(lambda _: (200, {"Content-Encoding": encoding}, b"x")) as server:
        check_refused(corpus(server, num_texts=1), "which was not asked for")


@pytest.mark.slow
def test_damaged_compression_is_refused(corpus):
    with serve_odd(lambda _: (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b" + b"x" * 100)) as server:
        check_refused(corpus(server, num_texts=1), "cannot be unpacked")


@pytest.mark.slow
def test_ordinary_compression_is_read(corpus):
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    for encoding, pack in packed.items():
        content = pack(make_completion("A dog runs."))
        with serve_odd(lambda _, *sent: (200, {"Content-Encoding": sent[0]}, sent[1]), encoding, content) as server:
            made = corpus(server, num_texts=1)
            assert made.ask() is None
            assert list(made.answers().values()) == [[{"text": "A dog runs."}]]


def test_calls_and_files_of_batches_are_bounded():
    with serve_odd(lambda _: (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * MEBIBYTE))) as server:
        limit = MEBIBYTE - 1
        http_client = make_http_client(lambda: limit)
        with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0, http_client=http_client) as client:
            with pytest.raises(openai.APIConnectionError) as caught:
                client.post("/files", cast_to=object, body={})
            assert isinstance(caught.value.__cause__, UnreadableBody)
            limit = MEBIBYTE
            client.post("/files", cast_to=str, body={})
