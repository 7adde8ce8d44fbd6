"""Exported models: written from checkpoints, loaded strictly, with card and provenance."""
