"""Every relative link of the documents leads to a file, and every anchor to a heading."""

import re
import subprocess
import unicodedata
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=REPOSITORY, capture_output=True, text=True,
)  # fmt: skip
# A checkout without git, as a source archive is, has its documents all the same.
DOCUMENTS = sorted(REPOSITORY / name for name in _LISTED.stdout.split()) or sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("close_transfer/**/*.md")]
)


def read_without_code(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def find_anchors(path):
    """The anchors that GitHub makes of headings, and those written as HTML."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ +(.*?) *$", text, flags=re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        kept = (c for c in words if c in " -_" or unicodedata.category(c)[0] in "LN")
        anchors.add("".join(kept).replace(" ", "-"))
    return anchors


def test_the_documents_are_found():
    names = {str(path.relative_to(REPOSITORY)) for path in DOCUMENTS}
    assert {"README.md", "CONTRIBUTING.md", "docs/method.md", "docs/results/README.md"} <= names


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_links_and_anchors_resolve(path):
    broken = []
    for target in re.findall(r"\]\(\s*<?([^)>\s]+)", read_without_code(path)):
        if re.match(r"[a-z]+:", target):  # an address; tests use no network
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        known = linked.exists() and (not anchor or (linked.suffix == ".md" and anchor in find_anchors(linked)))
        if not known:
            broken.append(target)
    assert not broken


def test_every_page_is_linked():
    """Readers do not find a page that no other page links."""
    linked = {
        (path.parent / target.partition("#")[0]).resolve()
        for path in DOCUMENTS
        for target in re.findall(r"\]\(\s*<?([^)>\s]+)", read_without_code(path))
        if target.partition("#")[0] not in ("", Path(path).name)
    }
    pages = [path for path in DOCUMENTS if path.is_relative_to(REPOSITORY / "docs")]
    assert [str(path.relative_to(REPOSITORY)) for path in pages if path.resolve() not in linked] == []


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".md", ".html", ".j2", "Makefile"])
def test_pages_that_code_names_exist(suffix):
    """Messages and comments that send a reader to docs/PAGE.md."""
    folders = ("close_transfer", "textgen", "studies", "scripts", "configs", "benchmarks", "docs")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob(f"*{suffix}")] + [
        path for path in REPOSITORY.iterdir() if path.name.endswith(suffix)
    ]
    named = {
        (str(path.relative_to(REPOSITORY)), page)
        for path in files
        for page in re.findall(r"\bdocs/[\w/]+\.(?:md|svg|png|jpg)", path.read_text(encoding="utf-8"))
    }
    assert sorted(pair for pair in named if not (REPOSITORY / pair[1]).exists()) == []


def test_the_readme_stays_short():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
