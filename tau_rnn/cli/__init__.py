"""The command line: its options, one run, a sweep, and what is shown while they go."""

from tau_rnn._lazy import lazy_names

__all__: list[str] = []

__getattr__, __dir__ = lazy_names(__name__)
