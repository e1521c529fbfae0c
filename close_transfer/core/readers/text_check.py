"""Check that a column holds sentences, and not addresses, file names, numbers, brackets, quotes or lines of a table.

A wrong column, or a table under another extension, reads like text: training succeeds and learns nonsense.
"""

import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

from close_transfer.core.errors import UserError

T = TypeVar("T")

_NUM_CHECKED = 1000  # values per column
_MAX_SHARE = 0.5  # captions that are numbers or in quotes occur; more than half of them do not
_MAX_LENGTH = 2000  # characters of a value that are looked at
_MAX_SHOWN = 80  # characters of the example in a message
_MAX_LIST = 100_000  # characters of a cell that may be a list

_ADDRESS = r"(?:[a-z][a-z0-9+.-]{1,20}://|www\.)\S+"
_IMAGE_EXTENSION = r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|npy|npz|mp4)(?:#\d+)?"
_FILE = rf"[^\s,|][^,|]{{0,200}}?{_IMAGE_EXTENSION}"
# Each kind with its pattern and with the setting that helps. The first that fits a whole value counts.
_NO_SENTENCES = {
    "addresses": (rf"{_ADDRESS}", "the column of the sentences"),
    "file names": (rf"{_FILE}|/\S*/\S*|[\w.-]+/[\w./-]+\.\w+", "the column of the sentences"),
    "lines of a table": (
        rf"(?:{_FILE}|{_ADDRESS}|\d+)\s*[,|;]\s*\S.*(?<!\d)|(?:\S{{1,200}}?{_IMAGE_EXTENSION}|{_ADDRESS})\s+\S.*",
        "the column of the sentences, which reads a .txt as a table with a header",
    ),
    "numbers or ids": (r"[-+\d.,:/ %]*\d[-+\d.,:/ %]*|(?=\S*\d)[\w.#-]{8,}", "the column of the sentences"),
    "values in brackets": (r"\[.*\]|\{.*\}|\(.*\)|<.*>", "a column of texts"),
    "texts in quotes": (r"\"[^\"]*\"|“[^”]*”", "a column of texts without quotes around them"),
}
_PATTERNS = {kind: re.compile(pattern, re.ASCII | re.IGNORECASE) for kind, (pattern, _) in _NO_SENTENCES.items()}

_QUOTED = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_LIST = re.compile(rf"\[\s*{_QUOTED}(?:(?:\s*,\s*|\s+){_QUOTED})*\s*,?\s*\]")


def classify(text: str) -> str:
    """Return the kind of a value that is not a sentence, such as "addresses"; empty for one that may be."""
    text = text[:_MAX_LENGTH].strip()
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(text)), "")


def spread_evenly(items: Sequence[T]) -> Sequence[T]:
    """Return as many items as `check_sentences` looks at, evenly spread; all if there are no more."""
    return items[:: max(1, len(items) // _NUM_CHECKED)][:_NUM_CHECKED]


def check_sentences(
    texts: Sequence[str],
    setting: str,
    column_setting: str | None,
    switch: str,
    remedy: str = "the dataset's own file",
) -> None:
    """Check that most texts look like sentences; a bounded number of them, evenly spread, is looked at.

    Args:
        texts: values of one column.
        setting: setting and value that name the texts, for messages.
        column_setting: name of the setting that chooses the column, for messages; None if the format defines it.
        switch: setting that says that such texts are meant.
        remedy: what to give if no setting chooses the column, for messages.

    Raises:
        UserError: names the kind of the values with an example, and the settings that help.
    """
    checked = spread_evenly(texts)
    kinds = [classify(text) for text in checked]
    counts = Counter(filter(None, kinds))
    if counts.total() <= _MAX_SHARE * len(checked):
        return
    kind, count = counts.most_common(1)[0]
    example = next(text for text, found in zip(checked, kinds, strict=True) if found == kind)
    shown = example if len(example) <= _MAX_SHOWN else f"{example[:_MAX_SHOWN]}..."
    remedy = f"{column_setting}=NAME, {_NO_SENTENCES[kind][1]}" if column_setting else remedy
    raise UserError(
        f"{setting}: {count:,} of {len(checked):,} texts are {kind}, such as {shown!r}. "
        f"Give {remedy}, or {switch} if these texts are meant"
    )


def require_sentences(texts: Iterator[str], setting: str, column_setting: str, switch: str) -> Iterator[str]:
    """Yield the texts of a stream after a check of the first ones; arguments and errors as of `check_sentences`."""
    first = list(islice(texts, _NUM_CHECKED))
    check_sentences(first, setting, column_setting, switch)
    yield from chain(first, texts)


def split_list(value: object) -> object:
    """Return the texts of a Python or JSON list that was written into one cell; any other value unchanged."""
    if not isinstance(value, str) or len(value) > _MAX_LIST or value.strip()[:1] != "[":
        return value
    text = value.strip()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        if not _LIST.fullmatch(text):
            return value
        try:  # item by item, because Python joins the neighbouring texts of a NumPy array, which has no commas
            items = [literal_eval(item) for item in re.findall(_QUOTED, text)]
        except (ValueError, SyntaxError):
            return value
    return items if isinstance(items, list) and items and all(isinstance(item, str) for item in items) else value
