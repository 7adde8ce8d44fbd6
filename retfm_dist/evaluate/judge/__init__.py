"""Judgement of predictions: scores, comparisons, fairness, transfer."""
