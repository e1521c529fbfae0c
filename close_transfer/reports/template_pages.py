"""Pages that are filled in from a template of this package."""

from pathlib import Path
from typing import Any

import jinja2

from close_transfer.core import pages


def write_template_page(path: Path, template: str, **values: Any) -> None:
    """Fill in a template of `templates/`, and write the page.

    Args:
        path: file to write.
        template: name of the template's file.
        values: values that the template uses; it may use no others.

    Raises:
        WriteError: if it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("close_transfer.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.write_page(path, environment.get_template(template).render(**values))
