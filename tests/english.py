"""Word list and docstring rules of the project's English; `python -m tests.english [FILE ...]` lists what breaks them.

Checked are docstrings, comments and strings of code, comments of YAML files, documents, and page templates. The rules
come from CONTRIBUTING.md, "How we write".
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ("close_transfer", "textgen", "studies", "scripts", "benchmarks", "docs")

# The world's own language, word lists and the prompts that models are sent: their words are data.
EXEMPT = (
    "close_transfer/data/picturebook/",
    "configs/grammars/",
    "benchmarks/near_duplicates.py",  # frames of made-up captions
)
_OPENINGS = ("What", "Whether", "Who", "Where", "Which", "Why", "How", "Of", "All", "That")
_UNITS = (
    "batch|caption|epoch|example|file|folder|hour|image|line|minute|page|process|question|request|row|run|scene|second|"
    "seed|sentence|split|step|task|text|token|vector|word|worker"
)
# A pattern, and the plain words to use instead.
RULES: tuple[tuple[str, str], ...] = (
    (r"\b(?:is|are|was|were|be|been) told\b|\btold (?:of|by|as|in|with)\b|\btells? of\b", "report, print or state"),
    (r"\bmend(?:s|ed|ing)?\b", "fix"),
    (r"\bwh(?:o|at|ich)ever\b|\bwhosoever\b", "name the subject; 'any' or 'each'"),
    (r"\b(?:goes|go|going|gone|went) on\b", "continue or resume"),
    (r"\bstands?\b(?! (?:for|out|in)\b|-in\b)|\bstanding\b|\bstood\b", "is"),
    (r"\blies\b|\blie\b|\blay\b", "is"),
    (r"(?<!there )(?<!may )\b(?:is|are|was|were|be) no (?!longer\b|more\b|less\b|fewer\b|better\b|worse\b|such\b|one\b|need\b)", "is not a"),
    (r"\b(?:can|could|may|to) be had\b", "is available"),
    (r"\bof (?:its|their|your|our|my|one's|his|her) own\b(?! \w)", "its own X"),
    (r"\bso many\b|\bso much\b", "name the number"),
    (r"\bma(?:kes?|de) of (?:it|them|this|that)\b", "say what it does"),
    (r"\banybody|\bnobody\b|\bsomebody\b", "name the reader: 'you', 'users', 'no one'"),
    (r"\bpictures?\b", "image"),
    (rf"\b(?:a|an|one|\d+) (?:{_UNITS}) an? (?:{_UNITS})\b", "per"),
    (r"\bone file an? \w+", "per"),
    (r", as (?:it|they|this|that|there|these|those|he|nothing|none|no)\b", "because"),
    (r"\bbeside\b", "next to, or: as well as"),
    (r"\bwhere there (?:is|are)\b|\bwhere (?:none|nothing)\b", "if"),
    (r"\bthereof\b|\bwherefrom\b|\bhenceforth\b|\bherein\b|\bwhither\b|\bhither\b", "say it plainly"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in RULES)


def _wording(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line offset, complaint) for each match of the word list; `code` in backticks is not read."""
    without_code = re.sub(r"`[^`\n]*`", lambda match: " " * len(match.group()), text)
    for rule, advice in _COMPILED:
        for match in rule.finditer(without_code):
            yield without_code.count("\n", 0, match.start()), f'"{match.group()}": {advice}'


def find_openings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and complaint for each docstring of Python code that opens with a word that it must not open with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            first = re.split(r"\W", docstring, maxsplit=1)[0] if docstring else ""
            if first in _OPENINGS:
                yield getattr(node, "lineno", 1), f'docstring opens with "{first}": a verb, or a noun of the field'


def _python(source: str) -> Iterator[tuple[int, str]]:
    yield from find_openings(source)
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # A string without a space is a name, not a sentence.
        if token.type in kinds and " " in token.string.strip():
            for offset, complaint in _wording(token.string):
                yield token.start[0] + offset, complaint


def _yaml(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.split("\n"), 1):
        comment = re.search(r"(?:^|\s)#(.*)", line)
        for _, complaint in _wording(comment.group(1)) if comment else ():
            yield number, complaint


def _document(source: str) -> Iterator[tuple[int, str]]:
    """Yield complaints about the prose; code blocks and addresses of links are blanked, line for line."""
    prose = re.sub(r"^```.*?^```", lambda m: "\n" * m.group().count("\n"), source, flags=re.DOTALL | re.MULTILINE)
    for offset, complaint in _wording(re.sub(r"\]\([^)]*\)", "]", prose)):
        yield offset + 1, complaint


def _template(source: str) -> Iterator[tuple[int, str]]:
    blank = re.sub(r"<(style|script)\b.*?</\1>", lambda m: "\n" * m.group().count("\n"), source, flags=re.DOTALL)
    for offset, complaint in _wording(blank):
        yield offset + 1, complaint


_READERS = {".py": _python, ".yaml": _yaml, ".md": _document, ".html": _template, ".j2": _template}


def checked_files() -> list[Path]:
    """Return all files that the rules apply to, sorted."""
    code = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    templates = [path for folder in CODE for path in (ROOT / folder).glob("**/templates/*") if path.suffix in _READERS]
    configs = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "studies").rglob("*.yaml")]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    files = {*code, *templates, *configs, *documents}
    return sorted(path for path in files if not path.relative_to(ROOT).as_posix().startswith(EXEMPT))


def complaints(path: Path) -> list[str]:
    """Return `file:line: "words": advice` for each breach of the rules in a file."""
    found = _READERS[path.suffix](path.read_text(encoding="utf-8"))
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return [f"{shown}:{line}: {complaint}" for line, complaint in sorted(set(found))]


def main(arguments: list[str]) -> int:
    """Print the complaints about some files, or about all; return 1 if there are any."""
    allowed = set(checked_files())
    files = (
        [path for path in map(Path.resolve, map(Path, arguments)) if path in allowed] if arguments else sorted(allowed)
    )
    lines = [line for path in files for line in complaints(path)]
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
