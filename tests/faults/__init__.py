"""Faults injected into real training jobs.

    python -m tests.faults kills | verdicts | time     the long runs; the first is `make faults`

`inject` has the faults, `drive` starts a job again after each until it ends, and `test_faults` runs a
short seeded series in the default suite. `verdicts` lets jobs under torchrun fail for reasons that pass
and for reasons that stay; `effective` measures what faults cost of a run's time.
"""
