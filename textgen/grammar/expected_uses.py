"""Expected number of uses of a grammar's symbols in one text."""

from collections.abc import Iterable, Mapping

from textgen.grammar.parser import Symbol


def count_expected_uses(symbols: Mapping[str, Iterable[Symbol]], start: str) -> dict[str, float]:
    """Return the expected number of expansions of each symbol in one text.

    Args:
        symbols: name -> symbols for each value of a balanced variable, which are equally frequent.
        start: symbol of the whole text.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order and name in symbols:
            for symbol in symbols[name]:
                for slot in (slot for alternative in symbol.alternatives for slot in alternative.slots):
                    visit(slot.name)
            order.append(name)

    visit(start)
    uses = dict.fromkeys(order, 0.0)
    uses[start] = 1.0
    for name in reversed(order):  # a symbol before those in its slots
        values = list(symbols[name])
        for symbol in values:
            for alternative in symbol.alternatives:
                for slot in alternative.slots:
                    if slot.name in uses:
                        uses[slot.name] += uses[name] * alternative.weight / symbol.cumulative[-1] / len(values)
    return uses
