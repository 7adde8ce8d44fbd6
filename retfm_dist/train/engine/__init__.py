"""The model and its optimizer under DeepSpeed.

`library` is the one module that imports deepspeed, `device` decides where it computes,
`process_group` joins and leaves it, `engine` wraps a model, `settings` writes out DeepSpeed's
configuration, `optimizer` builds AdamW, `partitions` finds this rank's piece of every parameter,
`gradients` its share of their norm; `forward_clock` and `host_clock` measure its forward passes and
its host.
"""
