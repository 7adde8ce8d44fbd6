"""Evaluation of models: frozen features, patient-grouped protocols, uncertainty, one report.

config                    what an evaluation is made of
select, samples, usable   rows of the tables -> images and labels of each task
encode/                   photographs -> features of every model, cached
prepare                   the two above, and the folds, for all tasks
folds, protocols          out-of-fold scores from features
predict, predictions      one Parquet file per model, task and protocol: the source of truth
describe, score           predictions and samples -> numbers
report/                   numbers -> HTML, Markdown and figures
results, run              the output directory, and all of it in order
"""
