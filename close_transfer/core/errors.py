"""Exception for mistakes that a user can correct, and the reasons that libraries give."""


class UserError(ValueError):
    """Input from the user that cannot be used.

    The message names the value, what is allowed and what to do next. Commands print it without a traceback and exit
    with status 2.
    """


def get_first_line(error: BaseException) -> str:
    """Return the first line of an error's message for use in another message, or its class if it has none."""
    # Further lines of libraries' messages are advice on their own settings.
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
