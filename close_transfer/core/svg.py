"""SVG output of figures, byte for byte reproducible."""

import io

import matplotlib
from matplotlib.figure import Figure


def render_svg(figure: Figure) -> bytes:
    """Return the figure as SVG bytes; the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    # The salt fixes the ids of the SVG's elements, which matplotlib otherwise draws at random.
    with matplotlib.rc_context({"svg.hashsalt": "the same image has the same bytes"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
