"""Prices of models: costs, bounds, and refused price lists."""

import pytest

from close_transfer.core.errors import UserError
from textgen.corpus.prices import FREE, bound_tokens, estimate_tokens, find_price
from textgen.prompts.inputs import resolve_path

LIST = "as_of: 2026-01-02\nbatch: 0.4\nmodels:\n  small: {input: 1, output: 4}\n  own: {input: 0, output: 0}\n"


@pytest.fixture
def price_list(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(LIST)
    return path


def price(path, model="small", batch=False, allow_unpriced=False, max_cost=None):
    return find_price(model, path, batch, allow_unpriced, max_cost)


def test_costs_follow_the_list(price_list):
    spend = price(price_list).compute_spend(1_000_000, 500_000)
    assert spend.tokens == 1_500_000
    assert spend.cost == pytest.approx(1 + 2)
    assert price(price_list).as_of == "2026-01-02"
    assert price(price_list, "own", max_cost=1.0).compute_spend(10, 10).cost == 0


def test_a_batch_costs_its_share(price_list):
    assert price(price_list, batch=True).compute_spend(1_000_000, 1_000_000).cost == pytest.approx(0.4 * 5)
    price_list.write_text(LIST.replace("batch: 0.4\n", ""))
    assert price(price_list, batch=True).compute_spend(1_000_000, 1_000_000).cost == pytest.approx(0.5 * 5)


def test_a_model_without_a_price_is_refused_unless_the_user_allows_it(price_list):
    with pytest.raises(
        UserError, match=r"model=smal: .*prices.yaml has no price for it, .*; it has small, own\. .*allow_unpriced=true"
    ):
        price(price_list, "smal")
    unknown = price(price_list, "smal", allow_unpriced=True)
    assert unknown.as_of == "unknown"
    assert unknown.compute_spend(10, 10).tokens == 20
    with pytest.raises(UserError, match=r"max_cost=2.0: cannot be kept without a price for smal"):
        price(price_list, "smal", allow_unpriced=True, max_cost=2.0)
    assert price(price_list, allow_unpriced=True).as_of == "2026-01-02"  # an existing price is used


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("models: [a: {", r"prices=.*prices.yaml: is not YAML \(.*line 1"),
        ("as_of: 2026-99-99", r"prices=.*prices.yaml: is not YAML \(month must be"),
        ("[" * 1500, r"prices=.*prices.yaml: is not YAML"),
        ("", r"is not a price list\. Give as_of, batch and models, as in configs/prices.yaml"),
        ("- small\n", r"is not a price list"),
        (LIST.replace("as_of: 2026-01-02\n", ""), r"prices=.*: as_of: missing"),
        (LIST.replace("input: 1,", "input: -1,"), r"models.small.input=-1: should be greater than or equal to 0"),
        (LIST.replace("input: 1,", ""), r"models.small.input: missing"),
        (LIST.replace("input: 1,", "input: cheap,"), r"models.small.input=cheap: should be a valid number"),
        (LIST.replace("input: 1,", "inputs: 1,"), r"models.small.inputs: there is no such key"),
        (LIST.replace("batch: 0.4", "batch: 40"), r"batch=40: should be less than or equal to 1"),
        (LIST.replace("2026-01-02", "soon"), r"as_of=soon: "),
    ],
)
def test_an_invalid_list_is_refused_with_the_mistake(price_list, content, message):
    price_list.write_text(content)
    with pytest.raises(UserError, match=message):
        price(price_list)


def test_a_binary_or_missing_list_is_refused(tmp_path, price_list):
    price_list.write_bytes(b"\xff\xfe\x00models")
    with pytest.raises(UserError, match=r"is not YAML"):
        price(price_list)
    with pytest.raises(
        UserError, match=r"prices=.*none.yaml: there is no such file\. Write one like configs/prices.yaml"
    ):
        price(tmp_path / "none.yaml")


def test_the_shipped_list_is_found_from_any_folder():
    shipped = price(resolve_path("configs/prices.yaml"), "gpt-5-mini")
    assert 0 < shipped.input < shipped.output
    assert shipped.as_of.startswith("20")


def test_bounds_and_estimates_of_tokens():
    text = "Ein Hund läuft. 一只狗在跑 🐕"
    assert bound_tokens(text) >= len(text.encode())
    assert bound_tokens(text, None, "a") == bound_tokens(text, "a") > bound_tokens(text)
    assert estimate_tokens("word " * 100) < bound_tokens("word " * 100)


def test_a_free_price_costs_nothing():
    assert FREE.compute_spend(1000, 1000) == (2000, 0.0)
