"""Statistics of predictions: numpy and scipy only, no files, no configuration.

`auroc` computes discrimination and ROC curves for many weightings of the images at once;
`bootstrap` resamples patients and gives intervals.
"""
