"""The command line: its options, one run, a sweep, and what is shown while they go."""

__all__: list[str] = []
