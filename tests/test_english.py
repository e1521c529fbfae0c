"""Tests of the project's English: every checked file follows the rules of tests/english.py, and the rules find faults."""

from itertools import groupby

import pytest

from tests.english import CODE, ROOT, RULES, checked_files, complaints, find_openings


def get_folder(path):
    """Return the top-level folder of a file, or "." for a file at the root."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else "."


FILES = {folder: list(paths) for folder, paths in groupby(sorted(checked_files(), key=get_folder), key=get_folder)}


def test_every_folder_is_checked():
    assert set(FILES) == {*CODE, ".", "configs", "docs"}


@pytest.mark.parametrize("folder", FILES)
def test_a_folder_has_plain_english(folder):
    lines = [line for path in FILES[folder] for line in complaints(path)]
    assert not lines, "\n" + "\n".join(lines)


def test_docstrings_of_tests_open_plainly_too():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, complaint in find_openings(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


# For each rule, a sentence that breaks it and a similar one that does not.
SENTENCES = [
    ("The user is told the price.", "The page reports the price."),
    ("Whatever the user can mend is an error.", "The user can fix it. It was mentioned."),
    ("It keeps whichever came first.", "It keeps the first one."),
    ("The same command goes on from there.", "The same command resumes. It is an ongoing run."),
    ("The name stands before the bar.", "The stand-in server stands for the real one and stands out."),
    ("The file lies in the folder.", "The file is in the folder. It relies on a layout."),
    ("A number is no text.", "There is no text, and it is no longer needed."),
    ("A score that cannot be had, or can be had later.", "A score that is available later."),
    ("It runs in a process of its own.", "It runs in its own process, or in a process of its own kind."),
    ("One in so many captions.", "One in ten captions."),
    ("It prints what the model made of it.", "It prints the answer, made of tokens."),
    ("Nobody reads it.", "No one reads it."),
    ("It shows a picture.", "It shows an image. Picturebook is a dataset. A picturesque image."),
    ("It writes a line a file.", "It writes one line per file."),
    ("It writes one file an image.", "It writes one file per image."),
    ("It waits, as there is no answer.", "It waits because there is no answer, as before."),
    ("The facts are beside the results.", "The facts are next to the results. Besides, they are small."),
    ("Where there is no file, it stops.", "If there is no file, it stops."),
    ("The file and the lines thereof.", "The file and its lines."),
]


def read_complaints(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return [line.removeprefix(f"{path}:") for line in complaints(path)]


@pytest.mark.parametrize(
    ("rule", "faulty", "plain"), [(rule, *pair) for rule, pair in zip(RULES, SENTENCES, strict=True)]
)
def test_each_rule_finds_its_fault(tmp_path, rule, faulty, plain):
    _, advice = rule
    assert any(line.startswith("1:") and line.endswith(advice) for line in read_complaints(tmp_path, "a.md", faulty))
    assert not read_complaints(tmp_path, "b.md", plain)


@pytest.mark.parametrize("opening", ["What", "Whether", "Who", "Where", "Which", "Why", "How", "Of", "All", "That"])
@pytest.mark.parametrize("head", ["", "class A:\n    ", "def f():\n    ", "async def f():\n    "])
def test_docstrings_open_with_a_verb_or_a_noun(tmp_path, opening, head):
    (line,) = read_complaints(tmp_path, "a.py", f'{head}"""{opening} it is."""\n')
    assert line == f'1: docstring opens with "{opening}": a verb, or a noun of the field'
    assert not read_complaints(tmp_path, "b.py", f'{head}"""{opening}ever_ and Return the value."""\n')


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("comment.py", "x = 1\ny = 2  # nobody reads this\n", 2),
        ("string.py", 'x = (\n    f"{1} picture"\n)\n', 2),
        ("docstring.py", 'def f():\n    """Return it.\n\n    It is told in the log.\n    """\n', 4),
        ("settings.yaml", "key: 1\nother: 2  # of a picture\n", 2),
        ("page.md", "# Title\n\n```python\nx = 'picture'\n```\n\nA picture.\n", 7),
        ("page.html", "<style>\n.picture {}\n</style>\n<p>A picture.</p>\n", 4),
        ("prompt.j2", "Words\nof a picture\n", 2),
    ],
)
def test_the_line_of_a_fault_is_given_in_every_kind_of_file(tmp_path, name, text, number):
    (line,) = read_complaints(tmp_path, name, text)
    assert line.startswith(f"{number}: ")


def test_code_names_and_addresses_are_not_prose(tmp_path):
    assert not read_complaints(tmp_path, "a.md", "Give `picture=` of [a page](https://example.org/picture).\n")
    assert not read_complaints(tmp_path, "a.py", 'x = "picture"  # a `picture`\n')
    assert not read_complaints(tmp_path, "a.yaml", "picture: beside\n")
