"""Pictures on their way to a model: opened, cut to size, turned into numbers. Needs the ``images`` extra, no torch."""
