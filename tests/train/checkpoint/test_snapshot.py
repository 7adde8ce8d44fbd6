import torch
from safetensors.torch import load

from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.checkpoint.snapshot import Snapshot

CPU = torch.device("cpu")


def test_a_snapshot_keeps_what_the_state_was():
    state = torch.arange(10.0)
    state[3] = -0.0
    owned = [
        (Stretch("weights", "a", 0), state[:4]),
        (Stretch("exp_avg", "a", 2), state[4:].view(2, 3)[0]),
    ]
    expected = [values.clone() for _, values in owned]
    snapshot = Snapshot(7, device=CPU)
    header, values = snapshot.take(owned)
    state.fill_(99)
    found = load(header + bytes(values))
    assert torch.equal(found["weights/a@0"].view(torch.int32), expected[0].view(torch.int32))
    assert torch.equal(found["exp_avg/a@2"], expected[1])


def test_the_memory_is_taken_once():
    snapshot = Snapshot(4, device=CPU)
    values = torch.ones(4)
    first = snapshot.take([(Stretch("weights", "a", 0), values)])[1]
    values.fill_(2)
    snapshot.take([(Stretch("weights", "a", 0), values)])
    assert torch.frombuffer(first, dtype=torch.float32).tolist() == [2, 2, 2, 2]
