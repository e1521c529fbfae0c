from close_transfer.core.markdown import escape_cell, format_table


def test_a_table_has_a_line_per_row_and_a_rule_under_its_header():
    assert format_table(["name", "score"], [["a", "1.0"], ["b", ""]], ["left", "right"]) == (
        "| name | score |\n|---|---:|\n| a | 1.0 |\n| b |  |"
    )
    assert format_table(["", ""], []) == "|  |  |\n|---|---|"


def test_a_cell_holds_nothing_that_a_reader_obeys():
    assert escape_cell("a|b\n <i>c</i> & \\d") == "a\\|b &lt;i&gt;c&lt;/i&gt; &amp; \\\\d"
    assert escape_cell("\\|") == "\\\\\\|"
    assert escape_cell(7) == "7"


def test_code_in_a_cell_stays_code():
    assert escape_cell("`a < b | c\\d`\n", is_markdown=True) == "`a < b \\| c\\d`"
