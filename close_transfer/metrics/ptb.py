"""Penn Treebank tokens of captions, as in the COCO caption challenge; needs Java.

The program and its arguments are those of pycocoevalcap's PTBTokenizer. That class is not used because it writes its
input into the program's folder, which may be read-only, and starts the program for captions and references separately.
The program answers line by line, so a line break within a caption would shift every caption after it.
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
# The program runs for less than a second, so starting quickly counts more than compiling well. The tokens are the same.
_JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_BOUNDARY = "boundary"
"""Line between two tokenised files; it is checked at its place, so captions may have the same word."""

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
    return _tokenize_corpora(_Corpus(texts, cache))[0]


def tokenize_captions(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], cache: Path | None = None
) -> tuple[list[str], list[list[str]]]:
    """Tokenize captions and their references, which takes half as long as one after the other.

    The tokens are those of `tokenize_ptb` for the captions and for the references: the tokenizer starts once, but
    reads them from two files.

    Args:
        hypotheses: one caption per image.
        references: captions of each image.
        cache: folder for the tokens of the references, as for `tokenize_ptb`.

    Raises:
        WriteError, RuntimeError: as for `tokenize_ptb`.
    """
    groups, tokenized = _tokenize_corpora(_Corpus([[text] for text in hypotheses], None), _Corpus(references, cache))
    return [text for (text,) in groups], tokenized


class _Corpus:
    """Texts that are tokenised as one file.

    Args:
        texts: groups of captions.
        cache: folder for their tokens; None stores nothing.

    Attributes:
        lines: one line per caption.
        tokens: tokens of each line, read from the cache; None if the tokenizer has to run.
    """

    def __init__(self, texts: Sequence[Sequence[str]], cache: Path | None) -> None:
        self._texts = texts
        # Encoded and decoded again, so that both the fingerprint and the tokenizer get valid UTF-8.
        self.lines = [text.translate(_LINE_ENDS).encode(errors="replace").decode() for group in texts for text in group]
        self._path = cache and cache / f"{fingerprint([_PROGRAM.name, *_ARGUMENTS, *self.lines])}.json"
        self.tokens: list[str] | None = None if self.lines else []
        if self.lines and self._path:
            self.tokens = _read_cached_tokens(self._path, len(self.lines))

    def set_tokens(self, token_lines: Sequence[str]) -> None:
        """Take what the tokenizer returned, and store it in the cache."""
        self.tokens = [_remove_punctuation(line) for line in token_lines]
        if self._path:
            _write_cached_tokens(self._path, self.tokens)

    def group_tokens(self) -> list[list[str]]:
        """Return the tokens, grouped like the texts."""
        assert self.tokens is not None
        rest = iter(self.tokens)
        return [list(islice(rest, len(group))) for group in self._texts]


def _tokenize_corpora(*corpora: _Corpus) -> list[list[list[str]]]:
    missing = [corpus for corpus in corpora if corpus.tokens is None]
    if missing:
        for corpus, token_lines in zip(missing, _run_tokenizer([c.lines for c in missing]), strict=True):
            corpus.set_tokens(token_lines)
    return [corpus.group_tokens() for corpus in corpora]


def _run_tokenizer(corpora: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the tokens of each line of each corpus; the corpora are separate files and do not affect each other."""
    with tempfile.TemporaryDirectory() as name, provide_java():
        folder = Path(name)
        captions = [f"captions{number}" for number in range(len(corpora))]
        with report_write_errors(folder / captions[0]):
            for file_name, lines in zip(captions, corpora, strict=True):
                # No line break at the end, because the tokenizer would return an empty line for it.
                (folder / file_name).write_bytes("\n".join(lines).encode())
            # So the last line of a file must be ended by the next file.
            (folder / _BOUNDARY).write_text(f"\n{_BOUNDARY}\n")
            # Without a list that names the output of each file, the program closes its output after the first one.
            entries = [f"{file_name}\t/dev/stdout\n" for file_name in captions]
            (folder / "list").write_text(f"{_BOUNDARY}\t/dev/stdout\n".join(entries))
        arguments = ["-cp", str(_PROGRAM), *_JAVA_OPTIONS, *_ARGUMENTS, "-ioFileList", "list"]
        token_lines = run_java(arguments, folder).decode().split("\n")
    rest = iter(token_lines)
    answers = [list(islice(rest, len(lines) + 1)) for lines in corpora]
    num_captions, num_lines = sum(map(len, corpora)), len(token_lines) - (len(corpora) - 1)
    if num_lines != num_captions or any(answer.pop() != _BOUNDARY for answer in answers[:-1]):
        raise RuntimeError(f"PTBTokenizer returned {num_lines} lines for {num_captions} captions")
    return answers


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
