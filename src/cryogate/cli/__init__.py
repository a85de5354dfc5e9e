"""The ``cryogate`` command, one file per noun."""
