"""Templates: all that make HTML escape what they show."""

import ast

from tests.conftest import REPOSITORY

# A prompt is plain text, and the card is Markdown, which `finalize` escapes.
NOT_HTML = {"textgen/prompts/recipe.py": "ImmutableSandboxedEnvironment", "textgen/report/data_card.py": "finalize"}


def test_every_template_escapes():
    found = {}
    for folder in ("close_transfer", "textgen", "studies"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Environment"):
                    found.setdefault(path.relative_to(REPOSITORY).as_posix(), []).append(ast.unparse(node))
    assert len(found) > len(NOT_HTML)
    for path, calls in found.items():
        assert all(NOT_HTML.get(path, "autoescape=True") in call for call in calls), path
    for template in [*REPOSITORY.glob("*/**/templates/*.html")]:
        assert "|safe" not in template.read_text().replace(" ", "")
