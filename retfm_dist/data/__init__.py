"""Data path from a shard set to batches, the same at any world size and after any resume.

    order      which samples form global batch k
    augment    how each of them is cropped and flipped
    reader     their bytes, checked
    decode     their pixels, one batch ahead of the consumer
    pipeline   the two back ends of that; the one module that imports DALI
    resize     the CPU back end's second half
    prefetch   work done ahead in a thread
    transfer   from that thread to the training stream of a device
    sampling   the part of a global batch that falls to a rank; the state of a run
    loader     all of the above, as micro-batches of one rank

The first two are pure functions of (seed, epoch, sample). The state of the whole is one integer,
the step; everything else in `Loader.state` is there to refuse a resume onto other data.
"""
