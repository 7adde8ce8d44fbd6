"""Checkpoints: complete or absent, verified before use, independent of world size and ZeRO stage.

    checkpoints/step_XXXXXXXX/
        rank_NNNN.safetensors  what rank N of the writing job held: KIND/NAME@START -> fp32 [n],
                               n elements of the flattened tensor NAME from START on, for the kinds
                               weights (fp32 master weights, frozen tables), exp_avg, exp_avg_sq,
                               average (of the weights, where the run keeps one)
        state.json             step, images_seen, num_updates, data path, experiment, versions,
                               world size, and the shape of every tensor
        manifest.json          bytes and sha256 of the others; written last, the commit marker

Every rank writes its own part under a hidden name, in the background; when all parts are on disk
the main rank adds the two small files and renames the directory. The newest complete checkpoint is
found by looking; no file points to it that could go stale. Nothing is pickled.

`layout` has the names, `part` writes a rank's file, `commit` makes the parts a checkpoint,
`snapshot` copies a rank's state to host memory, `saver` does all of it beside training, `trigger`
says when, `verify` reads every byte, `folder` lists and removes, `read` opens.
"""
