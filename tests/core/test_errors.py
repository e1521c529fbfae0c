import pytest

from close_transfer.core.errors import get_first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("damaged\nSet debug=true"), "damaged"),
        (TimeoutError(), "TimeoutError"),
        (OSError("x" * 300), "x" * 200),
    ],
)
def test_the_first_line_of_an_error(error, line):
    assert get_first_line(error) == line
