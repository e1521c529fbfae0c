from matplotlib.figure import Figure

from close_transfer.core.svg import escape_label, render_svg
from tests.hostile import HOSTILE, check_svg


def test_a_label_of_others_is_drawn_as_it_is():
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([1, 10], [1, 2], label=escape_label(f"{HOSTILE} $\\frac$"))
    axes.set(xscale="log", ylabel=escape_label("costs $5 to $9 --> <script>"))
    axes.legend()
    check_svg(render_svg(figure))
