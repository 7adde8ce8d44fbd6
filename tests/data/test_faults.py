from retfm_dist.data.faults import EXCLUDED, Fault, Replacement


def test_a_replacement_is_plain_values_for_a_log():
    item = Replacement("0f" * 8, "shards/000001.tar", 7, "damaged", "ab" * 8)
    assert vars(item) == {
        "uid": "0f" * 8,
        "shard": "shards/000001.tar",
        "row": 7,
        "reason": "damaged",
        "substitute": "ab" * 8,
    }


def test_being_left_out_is_a_fault_of_its_own():
    assert Fault("damaged") != EXCLUDED
    assert "exclude_uids" in EXCLUDED.reason
