"""Visual News: captions of news images, with the article as the prompt (Liu et al., arXiv 2010.03743).

An entry has `id, caption, image_path, article_path`; paths start with "./" and are relative to the
dataset's folder. The splits are those of CLOSE's release, one file each.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from close_transfer.config.data import VisualNewsData
from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import clean, entries, new_key, read_document, text_field
from close_transfer.data.examples import Example
from close_transfer.data.sources.images import make_file_ref, resolve_inside
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import open_official_file


def _read_article(path: Path, whole: bool) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RecordError(f"the article {path} cannot be read ({error.strerror})") from None
    return clean(text if whole else text.lstrip().partition("\n")[0], "article")


def _build_example(entry: Any, root: Path, whole: bool, seen_ids: set[str]) -> Example | None:
    key, caption = new_key(entry, "id", seen_ids), text_field(entry, "caption")
    article, image = (resolve_inside(root, text_field(entry, name), name) for name in ("article_path", "image_path"))
    if not is_file(article):
        return None
    return Example(
        id=key,
        texts=(caption,),
        image=make_file_ref(image, image.relative_to(root).as_posix()),
        prompt=_read_article(article, whole),
        references=(caption,),
    )


def load(data: VisualNewsData, split: str) -> LoadedSplit:
    """Return the images of one split, each with its caption as text and reference and its article as prompt.

    Entries whose article is missing are left out and counted.

    Raises:
        UserError: names file, entry and field of unusable entries.
    """
    path, setting = open_official_file(data, split)
    faults = RecordErrors(path, data.on_bad_rows, "entries")
    examples, num_missing = [], 0
    seen_ids: set[str] = set()
    for number, entry in enumerate(entries(read_document(path, setting), None, path, setting)):
        try:
            example = _build_example(entry, Path(data.root), data.articles == "whole", seen_ids)
        except RecordError as fault:
            faults.add(f"entry [{number}]", fault)
            continue
        if example is None:
            num_missing += 1
        else:
            examples.append(example)
    if num_missing and not examples and not faults.count:
        raise UserError(
            f"{setting}={path}: none of the {num_missing:,} articles is below data.root={data.root}. Put the articles "
            "there, or give their folder as data.root"
        )
    skipped = faults.settle(len(examples))
    if num_missing:
        skipped += Counter({"entries whose article is missing": num_missing})
    return LoadedSplit(examples, skipped)
