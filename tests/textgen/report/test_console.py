"""Console output of a corpus's status."""

from textgen.corpus.ledger import Ledger, Spend
from textgen.report.console import describe_status


def test_spend_without_a_price_has_no_dollars():
    ledger = Ledger()
    ledger.spent = Spend(28_358, 0.0)
    assert describe_status(ledger, 100) == "0 of 100 requests answered, 28,358 tokens spent"
    ledger.spent = Spend(28_358, 1.5)
    assert describe_status(ledger, 100) == "0 of 100 requests answered, 28,358 tokens, $1.5000 spent"
