"""SVG output of figures, byte for byte reproducible."""

import io

import matplotlib
from matplotlib.figure import Figure

from close_transfer.core.control_characters import escape_controls


def render_svg(figure: Figure) -> bytes:
    """Return the figure as SVG bytes; the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    # The salt fixes the ids of the SVG's elements, which matplotlib otherwise draws at random.
    with matplotlib.rc_context({"svg.hashsalt": "the same image has the same bytes"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def escape_label(text: str) -> str:
    """Return a text for a label of a figure, in which matplotlib would read dollar signs as the ends of a formula."""
    return escape_controls(text).replace("$", r"\$")
