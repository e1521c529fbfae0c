"""Names before and after the reorganisation of the code, for `compare_commits.py`."""

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
FIELDS = {
    "regime": "data_regime",
    "trained_on": "training_input_modality",
    "store": "embedding_cache",
    "memory": "text_memory",
    "memory_size": "text_memory_size",
    "memory_temperature": "text_memory_temperature",
    "memory_search": "text_memory_search",
    "decoding_seed": "sampling_seed",
    "reranker": "rerank_encoder",
    "base": "base_model",
    "without_leaks": "exclude_overlap_with",
    "without_leaks_column": "exclude_overlap_column",
    "validations": "num_validations",
    "accumulation": "gradient_accumulation",
}
# The same where a file has another name for it.
FIELDS_OF_FILES = {"facts.json": {"trained_on": "input_modality"}}
# The same below one field only.
FIELDS_BELOW = {"lm": {"train": "tuning"}}
# Fields that hold sentences, which are free to change.
WORDING = {"validation_input", "system"}
# Fields that are no longer written: clip.help=true became a script.
REMOVED = {"help"}
# Values that changed with a name: (field before, value before), value after.
VALUES = {
    ("trained_on", "images"): "image",
    ("name", "table"): "file",
    ("data", "table"): "file",
}
