import math

import pytest
import torch

from retfm_dist.model.position import sincos_table


def test_the_class_token_has_no_position():
    assert not sincos_table(3, dim=8)[0].any()


def test_columns_come_before_rows_and_sines_before_cosines():
    table = sincos_table(14, dim=16)
    assert table.shape == (197, 16)
    assert table.dtype == torch.float64
    for y, x in [(0, 0), (0, 5), (3, 0), (13, 7)]:
        waves = [10000 ** (-i / 4) for i in range(4)]
        expected = [
            *(math.sin(x * wave) for wave in waves),
            *(math.cos(x * wave) for wave in waves),
            *(math.sin(y * wave) for wave in waves),
            *(math.cos(y * wave) for wave in waves),
        ]
        assert table[1 + 14 * y + x].tolist() == pytest.approx(expected, abs=1e-12)


def test_no_two_patches_share_a_row():
    table = sincos_table(14, dim=32)[1:]
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 1e-2


def test_the_model_carries_both_tables(build):
    model = build().double()
    model.write_position_tables()
    assert torch.equal(model.pos_embed[0], sincos_table(4, dim=24))
    assert torch.equal(model.decoder_pos_embed[0], sincos_table(4, dim=16))
    assert not model.pos_embed.requires_grad
    assert not model.decoder_pos_embed.requires_grad
