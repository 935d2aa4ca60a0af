"""Recurrent networks with diverse intrinsic timescales, every gradient derived by hand."""

__version__ = "0.1.0"
