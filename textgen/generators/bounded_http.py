"""HTTP clients for `openai` that read a bounded number of bytes per answer, also of compressed ones.

A small compressed answer can unpack to gigabytes, and a server can send without end. The bytes are counted while they
are read and unpacked, so no answer takes more memory than its limit.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from typing import Any

import openai

# The HTTP library of `openai`, which differs between its versions; both have the same names.
_http: Any = import_module(type(openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0])

_ENCODINGS = ("gzip", "deflate")  # those that can be unpacked piece by piece with a limit
_ANY_FORMAT = 47  # zlib's window for gzip and zlib, detected by the header


class UnreadableBody(_http.DecodingError):
    """Body of an answer that is larger than the limit, or packed in an unknown way."""


class _Unpacker:
    """Bytes of one body, unpacked and counted."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in ("", "identity", *_ENCODINGS):
            raise UnreadableBody(f"the answer is compressed as {encoding[:40]!r}, which was not asked for")
        self._unpacker = zlib.decompressobj(_ANY_FORMAT) if encoding in _ENCODINGS else None
        self._limit, self._num_packed, self._num_unpacked = limit, 0, 0

    def unpack(self, chunk: bytes) -> bytes:
        """Return the unpacked bytes of a piece of the body.

        Raises:
            UnreadableBody: as soon as the limit is passed.
        """
        self._num_packed += len(chunk)  # counted too, because packed bytes can unpack to nothing
        if self._unpacker is not None:
            try:
                chunk = self._unpacker.decompress(chunk, self._limit - self._num_unpacked + 1)
            except zlib.error as error:
                raise UnreadableBody(f"the answer cannot be unpacked ({error})") from None
        self._num_unpacked += len(chunk)
        if max(self._num_packed, self._num_unpacked) > self._limit:
            raise UnreadableBody(f"the answer is larger than {self._limit:,} bytes, and reading ended there")
        return chunk


class _BoundedStream(_http.SyncByteStream):
    def __init__(self, stream: Any, unpacker: _Unpacker) -> None:
        self._stream, self._unpacker = stream, unpacker

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield self._unpacker.unpack(chunk)

    def close(self) -> None:
        self._stream.close()


class _BoundedAsyncStream(_http.AsyncByteStream):
    def __init__(self, stream: Any, unpacker: _Unpacker) -> None:
        self._stream, self._unpacker = stream, unpacker

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield self._unpacker.unpack(chunk)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _make_unpacker(response: Any, limit: int) -> _Unpacker:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding:
        del response.headers["content-encoding"]  # the stream is unpacked already
    return _Unpacker(encoding, limit)


def make_async_http_client(limit: int, **options: Any) -> Any:
    """Return a client for `openai.AsyncOpenAI` that reads at most `limit` unpacked bytes per answer.

    Args:
        limit: bytes.
        options: arguments of `openai.DefaultAsyncHttpxClient`.
    """

    async def bound(response: Any) -> None:
        response.stream = _BoundedAsyncStream(response.stream, _make_unpacker(response, limit))

    headers = {"Accept-Encoding": ", ".join(_ENCODINGS)}
    return openai.DefaultAsyncHttpxClient(headers=headers, event_hooks={"response": [bound]}, **options)


def make_http_client(get_limit: Callable[[], int], **options: Any) -> Any:
    """Return a client for `openai.OpenAI` that reads a bounded number of unpacked bytes per answer.

    Args:
        get_limit: returns the bytes of the next answer.
        options: arguments of `openai.DefaultHttpxClient`.
    """

    def bound(response: Any) -> None:
        response.stream = _BoundedStream(response.stream, _make_unpacker(response, get_limit()))

    headers = {"Accept-Encoding": ", ".join(_ENCODINGS)}
    return openai.DefaultHttpxClient(headers=headers, event_hooks={"response": [bound]}, **options)
