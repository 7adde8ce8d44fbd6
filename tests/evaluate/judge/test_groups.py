import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.groups import find_groupings
from tests.fakes.predictions import fixed_predictions


def item(**attributes):
    columns = {name: np.array(cells, object) for name, cells in attributes.items()}
    return fixed_predictions(num_patients=4, attributes=columns)


def test_patients_are_divided_by_what_the_file_says_and_missing_is_no_group():
    found = find_groupings(
        item(sex=["F", "F", "M", "M", None, None, "F", "F"], age=["44", "51", *["70"] * 6]),
        [],
        [("sex", "age")],
    )
    assert [grouping.name for grouping in found] == ["age", "sex", "sex x age"]
    assert found[1].groups == ("F", "M")
    assert found[1].codes.tolist() == [0, 1, -1, 0]
    # The first visit counts, not both.
    assert found[0].groups == ("40-49", "70-79")
    assert found[2].groups == ("F, 40-49", "F, 70-79", "M, 70-79")
    assert found[2].is_joint


def test_age_bands_stand_in_the_order_of_age():
    (found,) = find_groupings(item(age=["95", "95", "31", "31", "44", "44", "85", "85"]), [], [])
    assert found.groups == ("<40", "40-49", ">=80")
    assert found.codes.tolist() == [2, 0, 1, 2]


def test_unknown_columns_and_attributes_of_the_image_are_errors():
    with pytest.raises(EvaluateError, match="m: no column sex; got columns none"):
        find_groupings(item(), ["sex"], [])
    with pytest.raises(EvaluateError, match="no attribute to divide patients by"):
        find_groupings(item(), [], [])
    with pytest.raises(EvaluateError, match="column sex: a patient in two groups; got F and M"):
        find_groupings(item(sex=["F", "M"] * 4), ["sex"], [])
    for age in ("old", "-4", "240", "nan", "inf"):
        with pytest.raises(EvaluateError, match=f"column age: not an age; got {age}, expected"):
            find_groupings(item(age=[age] * 8), ["age"], [])


def test_a_patient_is_as_old_as_on_the_last_birthday():
    (found,) = find_groupings(item(age=["39.9", "39.9", "40.0", "40.0"] * 2), [], [])
    assert found.groups == ("<40", "40-49")
