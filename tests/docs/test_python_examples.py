"""The Python of README and docs, run as it stands there on models that are there already."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY


def python_of(document):
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / document).read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("document", "uses"),
    [
        ("README.md", (".caption(", ".answer(", ".judge(", ".from_embedding(")),
        ("docs/custom_data_and_models.md", (".caption(", ".from_embedding(", ".write(", ".save_pretrained(")),
    ],
)
def test_the_python_of_a_document_runs(document, uses, finished_runs, capsys):
    Path("runs").symlink_to(finished_runs)
    for name in ("drawing.jpg", "photo.jpg"):
        Image.new("RGB", (80, 60), "red").save(name)
    (code,) = python_of(document)
    assert [use for use in uses if use not in code] == []
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == code.count("print(")


@pytest.mark.skipif("CLOSE_TRANSFER_DATA" not in os.environ, reason="needs the published data, CLOSE_TRANSFER_DATA")
def test_the_python_about_leakage_runs(capsys):
    (code,) = python_of("docs/data.md")
    exec(code, {})
    assert "Leaks(" in capsys.readouterr().out


def test_every_field_of_a_result_is_documented():
    from close_transfer.data.examples import Prediction

    table = (REPOSITORY / "docs/custom_data_and_models.md").read_text().split("| field | |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines() if row))) == {
        *Prediction.__dataclass_fields__,
        "text",
    }
