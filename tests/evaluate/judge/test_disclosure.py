import dataclasses
import json
import re

import numpy as np
import pytest

from retfm_dist.evaluate.judge.disclosure import (
    Precision,
    possible_counts,
    precision_of,
    printable_counts,
)
from retfm_dist.evaluate.judge.fairness import RATES, FairnessOptions, judge_groups
from retfm_dist.evaluate.judge.fairness_tables import gap_table, group_table, grouping_json
from retfm_dist.evaluate.judge.groups import find_groupings
from retfm_dist.evaluate.predictions import Predictions

OPTIONS = FairnessOptions(alpha=0.05, num_permutations=19, seed=0)


def cohort(seed, *, sizes=(150, 60, 12)):
    """Patients of two images each, of three groups, of which one is too small to be judged."""
    rng = np.random.default_rng(seed)
    group = np.repeat(["white", "black", "unknown"], sizes)
    sick = rng.random(len(group)) < 0.4
    labels = np.repeat(sick, 2).astype(int)
    p = 1 / (1 + np.exp(-rng.normal(1.5 * labels - 0.7)))
    patients = np.repeat(np.arange(len(group)), 2).astype(str)
    sex = rng.permutation(np.arange(len(group)) % 2)
    return Predictions(
        model="m", task="", protocol="", uids=np.arange(len(labels)).astype(str),
        subject_ids=patients, labels=labels, probabilities=np.stack([1 - p, p], axis=-1)[None],
        attributes={
            "ethnicity": np.repeat(group, 2).astype(object),
            "sex": np.repeat(np.array(["F", "M"], object)[sex], 2),
        },
    )  # fmt: skip


def judged(item, names=("ethnicity",)):
    grouping = find_groupings(item, [], [names])[-1] if len(names) > 1 else None
    grouping = grouping or find_groupings(item, list(names), [])[0]
    return judge_groups(item, grouping, {"spec90": 0.6}, OPTIONS, None)


def attack(rates, num_images):
    """Return which numbers of positive images explain printed shares, tried one by one."""
    found = []
    for count in range(1, num_images):
        sizes = (count, num_images - count)
        if all(
            any(f"{k / size:.{len(text) - 2}f}" == text for k in range(size + 1))
            for text, size in zip(rates, sizes, strict=True)
        ):
            found.append(count)
    return found


def printed(body, group):
    """The shares of a group as the file holds them, with their decimals."""
    metrics = next(row for row in body["groups"] if row["group"] == group)["metrics"]
    return [metrics[name]["value"] for name in RATES if name in metrics]


@pytest.mark.parametrize("sizes", [(150, 60, 12), (150, 32, 12), (60, 30, 14)])
def test_printed_shares_leave_several_counts_possible_and_exact_ones_would_not(sizes):
    exactly, tried, shown = 0, 0, 0
    for seed in range(12):
        item = judged(cohort(seed, sizes=sizes))
        counts = {row["group"]: row["num_positive_patients"] for row in printable_counts(item)}
        black = next(group for group in item.groups if group.name == "black")
        if not black.is_judged or counts["black"] != "-":
            continue
        tried += 1
        precise = [f"{black.scored[name].value:.10f}" for name in RATES]
        exactly += attack(precise, black.num_images) == [black.num_positive_images]
        body, digits = grouping_json(item, 0.5, precision_of(item)), precision_of(item).rate_digits
        shares = [f"{value:.{digits}f}" for value in printed(body, "black")]
        shown += bool(shares)
        if shares:
            possible = attack(shares, black.num_images)
            near = [n for n in possible if abs(n - black.num_positive_images) < 10]
            assert black.num_positive_images in near
            assert len(near) >= 3
    assert tried >= 4
    assert shown >= tried / 2
    assert exactly >= tried / 2


def test_no_form_holds_more_decimals_than_the_page():
    item = judged(cohort(0))
    body = grouping_json(item, 0.0123456, precision_of(item))
    for group in body["groups"]:
        for metric in group["metrics"].values():
            assert all(value is None or value == round(value, 2) for value in metric.values())
    numbers = [body["es_auc"], *body["equalized_odds"].values()]
    numbers += [value for name, value in body["gap"].items() if name != "p"]
    assert all(value == round(value, 2) for value in numbers)
    tables = (
        group_table(item, precision_of(item)).csv()
        + gap_table([item], [None], {"ethnicity": precision_of(item)}).csv()
    )
    assert {len(digits) for digits in re.findall(r"\.(\d+)", tables)} == {2}
    assert "Fewer decimals" in group_table(item, precision_of(item)).note


def test_where_nothing_is_hidden_nothing_is_rounded():
    item = judged(cohort(0), ("sex",))
    assert precision_of(item) == Precision()
    body = grouping_json(item, 0.5, precision_of(item))
    value = body["groups"][0]["metrics"]["auroc"]["value"]
    assert value != round(value, 3)
    assert "Fewer decimals" not in group_table(item, precision_of(item)).note


def test_joint_groups_are_always_printed_coarsely():
    item = judged(cohort(0, sizes=(150, 90, 0)), ("ethnicity", "sex"))
    assert precision_of(item).digits == 2
    assert json.dumps(grouping_json(item, 0.5, precision_of(item))).count("num_") == 0


def test_shares_that_would_tell_a_count_however_coarse_are_not_printed(monkeypatch):
    monkeypatch.setattr("retfm_dist.evaluate.judge.disclosure._FEWEST_COUNTS", 1000)
    item = judged(cohort(0))
    assert precision_of(item) == Precision(2, 1, shows_rates=False)
    body = grouping_json(item, 0.5, precision_of(item))
    assert body["equalized_odds"] is None
    assert "sensitivity" not in json.dumps(body) + group_table(item, precision_of(item)).csv()


def test_the_counts_that_explain_a_share_are_those_of_a_hand_made_example():
    item = judged(cohort(0))
    black = next(group for group in item.groups if group.name == "black")
    # 10 of 46 positive and 62 of 70 negative images.
    scored = {
        name: dataclasses.replace(black.scored[name], value=value)
        for name, value in zip(RATES, (10 / 46, 62 / 70), strict=True)
    }
    group = dataclasses.replace(black, num_images=116, num_positive_images=46, scored=scored)
    assert possible_counts(group, 10) == [46]
    assert possible_counts(group, 2) == [
        n for n in attack(["0.22", "0.89"], 116) if abs(n - 46) < 10
    ]
    assert len(possible_counts(group, 1)) == 19
