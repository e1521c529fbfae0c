"""Training loop, its objectives, and the folder of a run."""
