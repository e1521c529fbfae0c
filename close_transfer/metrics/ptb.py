"""Penn Treebank tokens of captions, as in the COCO caption challenge; needs Java.

The program and its arguments are those of pycocoevalcap's PTBTokenizer. That class is not used because it writes its
input into the program's folder, which may be read-only. The program answers line by line, so a line break within
a caption would shift every caption after it.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pycocoevalcap.tokenizer import ptbtokenizer

from close_transfer.core.atomic_files import WriteError, fingerprint, read_json, report_write_errors, write_text
from close_transfer.metrics.java import provide_java, run_java

_PROGRAM = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
_ARGUMENTS = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")

# Characters that Python or the tokenizer may treat as the end of a line.
_LINE_ENDS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))


def get_cache_folder() -> Path:
    """Return the cache folder: `CLOSE_TRANSFER_CACHE`, else `cache` in the working folder."""
    return Path(os.environ.get("CLOSE_TRANSFER_CACHE") or "cache")


def tokenize_ptb(texts: Sequence[Sequence[str]], cache: Path | None = None) -> list[list[str]]:
    """Tokenize captions: lower-case tokens joined by single spaces, without punctuation, grouped like the texts.

    Args:
        texts: groups of captions. Any string is allowed: one without words becomes empty. A character that UTF-8
            cannot encode (a lone surrogate) becomes a question mark, which is removed as punctuation.
        cache: folder for the tokens, one file for all the texts together; None stores nothing. The tokens of a
            caption can depend on its neighbours, so captions are not stored separately.

    Raises:
        WriteError: if the folder for temporary files is full.
        RuntimeError: if the tokenizer fails, or returns a different number of lines than it was given.
    """
    # Encoded and decoded again, so that both the fingerprint and the tokenizer get valid UTF-8.
    lines = [text.translate(_LINE_ENDS).encode(errors="replace").decode() for group in texts for text in group]
    if not lines:
        return [[] for _ in texts]
    path = cache and cache / f"{fingerprint([_PROGRAM.name, *_ARGUMENTS, *lines])}.json"
    tokenized = _read_cached_tokens(path, len(lines)) if path else None
    if tokenized is None:
        tokenized = [_remove_punctuation(line) for line in _run_tokenizer(lines)]
        if path:
            _write_cached_tokens(path, tokenized)
    rest = iter(tokenized)
    return [list(islice(rest, len(group))) for group in texts]


def _run_tokenizer(lines: Sequence[str]) -> list[str]:
    with tempfile.TemporaryDirectory() as name, provide_java():
        captions = Path(name, "captions")
        with report_write_errors(captions):
            # No line break at the end, because the tokenizer would return an empty line for it.
            captions.write_bytes("\n".join(lines).encode())
        answer = run_java(["-cp", str(_PROGRAM), *_ARGUMENTS, captions.name], captions.parent).decode()
    token_lines = answer.split("\n")
    if len(token_lines) != len(lines):
        raise RuntimeError(f"PTBTokenizer returned {len(token_lines)} lines for {len(lines)} captions")
    return token_lines


def _remove_punctuation(line: str) -> str:
    return " ".join(token for token in line.rstrip().split(" ") if token not in ptbtokenizer.PUNCTUATIONS)


def _read_cached_tokens(path: Path, count: int) -> list[str] | None:
    """Return the tokens stored at `path`; None if there are none, or the file is damaged."""
    try:
        content = read_json(path)
        is_intact = len(content["tokens"]) == count and content["fingerprint"] == fingerprint(content["tokens"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return content["tokens"] if is_intact else None


def _write_cached_tokens(path: Path, tokenized: list[str]) -> None:
    content = {"fingerprint": fingerprint(tokenized), "tokens": tokenized}
    # The cache only saves time, so scoring continues if it cannot be written.
    with suppress(WriteError):
        write_text(path, json.dumps(content, ensure_ascii=False))
