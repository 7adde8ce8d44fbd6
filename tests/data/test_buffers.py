import gc
import threading

import torch

from retfm_dist.data.buffers import Buffers


def test_memory_comes_back_when_a_tensor_and_all_its_views_are_gone():
    buffers = Buffers()
    first = buffers.take((4, 5, 3))
    place = first.data_ptr()
    part = first.permute(2, 0, 1)[1:]
    del first
    assert buffers.take((4, 5, 3)).data_ptr() != place
    del part
    gc.collect()
    places = {buffers.take((2, 3)).data_ptr() for _ in range(2)}
    assert place in places


def test_tensors_in_use_never_share_memory():
    buffers = Buffers()
    tensors = [buffers.take((8, 8)).fill_(number) for number in range(50)]
    assert all((tensor == number).all() for number, tensor in enumerate(tensors))
    del tensors
    again = [buffers.take((8, 9)).fill_(number) for number in range(50)]
    assert all((tensor == number).all() for number, tensor in enumerate(again))


def test_many_threads_take_and_drop():
    buffers, wrong = Buffers(), []

    def work(number):
        for _ in range(300):
            tensor = buffers.take((64,)).fill_(number)
            if not (tensor == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert buffers.take((64,)).dtype == torch.uint8
