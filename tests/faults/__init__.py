"""Faults injected into real training jobs.

    python -m tests.faults --faults 200 --seed 0     the long run, also `make faults`

`inject` has the faults, `drive` starts a job again after each until it ends, and `test_faults` runs a
short seeded series in the default suite.
"""
