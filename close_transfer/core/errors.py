"""The one exception for mistakes that a user can mend."""


class UserError(ValueError):
    """What the user gave cannot be used.

    The message names the value, what is allowed and what to do next. The commands print it as it
    is, without a traceback, and exit with status 2.
    """
