"""Names that changed between the commit that `compare_commits.py` starts from and now."""

# Scripts: after, before.
SCRIPTS: dict[str, str] = {}
# Settings: the script, or "" for all; a regular expression of after, and before.
SETTINGS: tuple[tuple[str, str, str], ...] = ()
# Fields of what is written: before, after.
FIELDS: dict[str, str] = {"nearest_text_of_a_picture": "nearest_text_of_an_image"}
# The same for one file.
FIELDS_OF_FILES: dict[str, dict[str, str]] = {}
# The same below one field only.
FIELDS_BELOW: dict[str, dict[str, str]] = {}
# Fields that hold sentences, which are free to change.
WORDING = {"validation_input", "system"}
# Fields that are no longer written.
REMOVED: set[str] = set()
# Values that changed with a name: (field before, value before), value after.
VALUES: dict[tuple[str, str], str] = {}
