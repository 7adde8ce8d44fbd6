import dataclasses

import pytest

from retfm_dist.errors import CohortError
from retfm_dist.synth.cohort import sample_patient
from retfm_dist.synth.effects import VisibilityRule, check_visibility, parse_rule, visibility_of
from retfm_dist.synth.streams import PatientKey

ANYBODY = sample_patient(PatientKey(seed=0, site=0, number=0))
OLD_WOMAN = dataclasses.replace(ANYBODY, age=71.0, sex="female", ethnicity="South Asian")


@pytest.mark.parametrize(
    ("text", "rule", "applies"),
    [
        ("sex=female:0.2", VisibilityRule("sex", "=", "female", 0.2), True),
        ("sex=male:0.2", VisibilityRule("sex", "=", "male", 0.2), False),
        ("age>=60:0", VisibilityRule("age", ">=", "60", 0.0), True),
        ("age>=71:0", VisibilityRule("age", ">=", "71", 0.0), True),
        ("age<71:1", VisibilityRule("age", "<", "71", 1.0), False),
        (" ethnicity=South Asian:0.5 ", VisibilityRule("ethnicity", "=", "South Asian", 0.5), True),
        (
            "site=community_screening:0.5",
            VisibilityRule("site", "=", "community_screening", 0.5),
            False,
        ),
    ],
)
def test_a_rule_is_read_and_applied(text, rule, applies):
    assert parse_rule(text) == rule
    assert rule.applies_to(OLD_WOMAN) is applies


def test_the_last_rule_that_applies_counts():
    rules = [parse_rule(text) for text in ("sex=female:0.2", "age>=60:0.4", "sex=male:0.9")]
    assert visibility_of(OLD_WOMAN, base=1.0, rules=rules) == 0.4
    assert visibility_of(OLD_WOMAN, base=0.7, rules=rules[2:]) == 0.7
    assert visibility_of(OLD_WOMAN, base=0.7, rules=()) == 0.7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("female:0.2", "not a visibility rule; got 'female:0.2', expected COLUMN=VALUE:VISIBILITY"),
        ("sex=female", "not a visibility rule"),
        ("sex=female:much", "the visibility is not a number"),
        ("sex=female:1.5", "unusable lesion visibility; got 1.5, expected 0 to 1"),
        ("sex=female:nan", "unusable lesion visibility"),
        ("height=tall:0.5", "names no subgroup; got height=tall, expected age>=YEARS"),
        ("age=60:0.5", "names no subgroup"),
        ("sex>=female:0.5", "names no subgroup"),
        ("age>=old:0.5", "age is not a number; got age>=old"),
    ],
)
def test_a_useless_rule_is_refused(text, message):
    with pytest.raises(CohortError, match=message):
        parse_rule(text)


def test_a_visibility_lies_between_0_and_1():
    check_visibility(0.0)
    check_visibility(1.0)
    with pytest.raises(CohortError, match="got -0.1, expected 0 to 1"):
        check_visibility(-0.1)
