from retfm_dist.evaluate.describe import describe_samples
from tests.fakes.tables import one_task


def test_counts_and_subgroups_hold_no_identifier(archive):
    facts = describe_samples(one_task(archive))
    assert (facts["num_images"], facts["num_patients"]) == (4, 3)
    assert (facts["num_positive_images"], facts["num_negative_images"]) == (2, 2)
    assert (facts["num_positive_patients"], facts["num_negative_patients"]) == (2, 1)
    groups = [
        (g["attribute"], g["group"], g["num_images"], g["num_positive_patients"])
        for g in facts["subgroups"]
    ]
    assert groups == [
        ("age_band", "40-49", 2, 1),
        ("age_band", "70-79", 1, 1),
        ("age_band", "missing", 1, 0),
        ("eye", "left", 3, 1),
        ("eye", "right", 1, 1),
    ]
    assert "P1" not in str(facts)
    assert "a.png" not in str(facts)
