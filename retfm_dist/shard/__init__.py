"""Shard sets: a directory of WebDataset tars with indexes, tables and a manifest.

    manifest.json       hashes of every other file and the build parameters; written last
    000000.tar          USTAR, members KEY.jpg and KEY.json adjacent, byte-reproducible
    000000.idx          DALI's text index of that tar (v1.2)
    000000.samples      our binary index of that tar
    samples.parquet     one row per sample
    rejects.csv         one row per image left out
    cohort.json, .md    composition tables

`shards/README.md` describes the format; nothing here trains or reads batches.
"""
