"""An MLOps course kit: the functions its notebooks export."""

__version__ = "0.1.0"
