"""Exception for mistakes that a user can correct."""


class UserError(ValueError):
    """Input from the user that cannot be used.

    The message names the value, what is allowed and what to do next. Commands print it without a traceback and exit
    with status 2.
    """
