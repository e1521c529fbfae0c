"""Study of captioners: Cap, CapPa and their controls, each trained, tested and probed the same way."""
