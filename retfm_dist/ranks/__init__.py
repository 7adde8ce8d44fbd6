"""Processes of a distributed run, whatever they compute.

`world` says which rank this process is, `agreement` holds decisions that all ranks take together,
`failure` reports one error once however many ranks it ends, and `orphans` ends workers whose
launcher is gone. `world` and `orphans` import no torch.
"""
