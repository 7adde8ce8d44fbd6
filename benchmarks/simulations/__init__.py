"""Simulations with known truth behind the statistics: how often intervals and tests are right."""
