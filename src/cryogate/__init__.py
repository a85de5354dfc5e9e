"""Give AI agents quantum hardware without giving them the keys."""

__version__ = "0.1.0"
