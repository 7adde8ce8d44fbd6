"""Evaluation of models: frozen features, patient-grouped protocols, uncertainty, one report.

`config` declares an evaluation; `samples` picks images and labels; `arms` and `features` compute
features; `protocols` predict out of fold; `predictions` is the source of truth; `metrics`,
`bootstrap` and `score` turn it into numbers; `report` and `figures` into a page; `run` does it all.
"""
