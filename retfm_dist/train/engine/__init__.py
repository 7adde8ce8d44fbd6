"""The model and its optimizer under DeepSpeed.

`library` is the one module that imports deepspeed, `process_group` joins and leaves it, `engine`
wraps a model, `settings` writes out DeepSpeed's configuration, `optimizer` builds AdamW and
`partitions` finds this rank's piece of every parameter.
"""
