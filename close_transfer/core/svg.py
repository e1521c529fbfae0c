"""Drawn figures as files that are the same bytes for the same numbers."""

import io

import matplotlib
from matplotlib.figure import Figure


def render_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date and with names of its parts that do not change."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "the same image has the same bytes"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
