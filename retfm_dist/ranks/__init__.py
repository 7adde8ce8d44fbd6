"""Processes of a distributed run, whatever they compute.

`world` says which rank this process is, `agreement` holds decisions that all ranks take together,
`failure` reports one error once however many ranks it ends, `stopping` takes signals and other
requests to stop, `orphans` notices when the launcher is gone, and `heartbeat` and `stalls` find a
rank that stands still. Only `agreement` imports torch.
"""
