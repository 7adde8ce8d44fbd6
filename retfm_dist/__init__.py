"""retfm_dist: pre-train retinal foundation models and show what their data did to them.

Importing the package imports nothing heavy; every part is imported where it is used. The
folders and their floors are drawn in `docs/architecture.md`.
"""

__version__ = "0.1.0"
