"""Weights files: read without running code in them, and compared with the model they are for."""
