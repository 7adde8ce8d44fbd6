import pytest
import torch

from retfm_dist.data.transfer import Transfer


def test_nothing_is_copied_on_the_cpu():
    transfer = Transfer(torch.device("cpu"))
    tensor = torch.arange(3)
    with transfer.stream():
        (sent,) = transfer.send(tensor)
    transfer.receive(sent)
    assert sent is tensor


@pytest.mark.gpu
def test_tensors_arrive_whole_on_the_gpu():
    transfer = Transfer(torch.device("cuda", 0))
    tensors = [torch.full((64, 3, 224, 224), i, dtype=torch.uint8).pin_memory() for i in range(8)]
    for i, tensor in enumerate(tensors):
        with transfer.stream():
            (sent,) = transfer.send(tensor)
        transfer.receive(sent)
        assert sent.device == torch.device("cuda", 0)
        assert (sent == i).all()
