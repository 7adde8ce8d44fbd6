"""Counter-based random numbers keyed by sample, independent of processes.

Every number is a pure function of (seed, epoch, sample uid, purpose): no generator state exists,
so neither the number of ranks nor the batch size nor a restart can change what is drawn.

    philox        counter-based generator in numpy
    philox_torch  the same bits in torch, on any device
    feistel       keyed permutations of [0, n) in O(1) memory
    streams       what the counters mean: order, crop, flip, color, mask, initialization
"""
