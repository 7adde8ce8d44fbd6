"""Pre-training: optimizer, DeepSpeed engine, checkpoints, run directory, `fit()`.

The model and the loader are handed in; this package knows neither. `engine` is the one module of
the package that imports deepspeed. Nothing here is imported by `import retfm_dist`.
"""
