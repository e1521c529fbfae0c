"""Names before and after the house was rebuilt, for `compare_commits.py`."""

# Scripts: after, before.
SCRIPTS = {
    "baseline": "eval_baseline",
    "compute_statistics": "fit_adapter",
}
# Settings: the script, or "" for all; a regular expression of after, and before.
SETTINGS = (
    ("", r"^num_texts=", "num="),
    ("", r"^data=file$", "data=table"),
    ("", r"^lm\.tuning=", "lm.train="),
    ("predict", r"^scene=", "modality="),
    ("", r"^train\.num_validations=", "train.validations="),
    ("", r"^text_memory=", "memory="),
)
# Fields of what is written: before, after.
FIELDS: dict[str, str] = {}
# Fields that are no longer written.
REMOVED: set[str] = set()
# Values that changed with a name: (field before, value before), value after.
VALUES: dict[tuple[str, str], object] = {}
