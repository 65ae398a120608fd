"""Answers to the exercises of steps 3 to 5: right ones in ways of their own, wrong ones with what they are told."""

import hashlib
import zlib

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split

from churn_lab.check_rows import clean_rows, find_failures
from churn_lab.find_leaks import rank_auc
from churn_lab.generate_data import LOG_ODDS
from churn_lab.infer_contract import Choices
from churn_lab.prepare_data import LAB_CONTRACT

KEPT = {"a": True, "b": False, "c": True, "d": False, "e": False, "f": True}


def mend_row_by_row(rows):
    mended = {}
    for name, row in rows.iterrows():
        months = row["tenure_months"].split()
        row = row.to_dict()
        if len(months) == 2:
            row["tenure_months"] = str(12 * int(months[0]))
        row["avg_session_minutes"] = row["avg_session_minutes"].replace(",", ".")
        if row["num_complaints"].isdigit():
            mended[name] = row
    return pd.DataFrame.from_dict(mended, orient="index")


def mend_by_pattern(rows):
    rows = rows.copy()
    number, years = rows["tenure_months"].str.extract(r"(\d+)( year)?").T.to_numpy()
    rows["tenure_months"] = np.where(pd.isna(years), number.astype(int), number.astype(int) * 12)
    rows["avg_session_minutes"] = rows["avg_session_minutes"].str.replace(",", ".").astype(float)
    return rows[rows["num_complaints"].str.fullmatch(r"\d+")]


def mend_by_turning_away(rows):
    failures = find_failures(clean_rows(rows, LAB_CONTRACT.features), LAB_CONTRACT.features)
    return rows.drop(index=failures["row"].unique())


def mend_in_place(rows):
    rows["avg_session_minutes"] = rows["avg_session_minutes"].str.replace(",", ".")
    return rows


def mend_and_fill(rows):
    return mend_by_pattern(rows.assign(num_complaints=rows["num_complaints"].replace("", "0")))


def mend_as_months(rows):
    return mend_by_pattern(rows.assign(tenure_months=rows["tenure_months"].str.replace(r" years?", "", regex=True)))


def leaks_by_auc(rows, target):
    def knows(values, truth):
        return truth.nunique() == 2 and abs(roc_auc_score(truth, values) - 0.5) >= 0.45

    filled = rows.notna()
    return sorted(n for n in rows if knows(filled[n], target) or knows(rows[n][filled[n]], target[filled[n]]))


def leaks_by_ranks(rows, target):
    found = []
    for name in sorted(rows):
        for values in (rows[name].dropna(), rows[name].isna().astype(float)):
            auc = rank_auc(values.to_numpy(), target[values.index].to_numpy() == 1)
            if min(auc, 1 - auc) <= 0.05 and name not in found:
                found.append(name)
    return tuple(found)


def leaks_upwards(rows, target):
    full = rows.fillna(rows.min() - 1)
    return sorted(name for name in full if roc_auc_score(target, full[name]) >= 0.95)


def leaks_of_full_columns(rows, target):
    aucs = {name: roc_auc_score(target, rows[name]) for name in rows if rows[name].notna().all()}
    return sorted(name for name, auc in aucs.items() if max(auc, 1 - auc) >= 0.95)


def leaks_that_merely_help(rows, target):
    full = rows.fillna(rows.median())
    return sorted(name for name in full if abs(roc_auc_score(target, full[name]) - 0.5) > 0.1)


def gate_by_loop(entry, gate_f1, gate_precision, champion):
    failed = []
    for name, limit in (("f1", gate_f1), ("precision", gate_precision)):
        if entry["metrics"][name] < limit:
            failed.append(name)
        if champion is not None and champion["metrics"][name] - entry["metrics"][name] > 0.02 + 1e-9:
            failed.append("champion")
    return sorted(set(failed))


def gate_in_sets(entry, gate_f1, gate_precision, champion):
    own, other = entry["metrics"], champion["metrics"] if champion else {"f1": 0, "precision": 0}
    steps = [round(other[name] - own[name], 6) for name in ("f1", "precision")]
    asked = {
        "f1": own["f1"] >= gate_f1,
        "precision": own["precision"] >= gate_precision,
        "champion": max(steps) <= 0.02,
    }
    return {name for name, passed in asked.items() if not passed}


def gate_of_the_first(entry, gate_f1, gate_precision, champion):
    return gate_by_loop(entry, gate_f1, gate_precision, champion)[-1:]


def gate_by_f1(entry, gate_f1, gate_precision, champion):
    without = {"metrics": {**champion["metrics"], "precision": 0}} if champion else None
    return gate_by_loop(entry, gate_f1, gate_precision, without)


def gate_that_asks_for_more(entry, gate_f1, gate_precision, champion):
    return gate_by_loop(entry, gate_f1 + 1e-6, gate_precision, champion)


def alike_by_numpy(first, second, rows, tolerance):
    one, two = first.predict_proba(rows), second.predict_proba(rows)
    return len(one) == len(rows) and one.shape == two.shape and np.allclose(one, two, rtol=0, atol=tolerance)


def alike_row_by_row(first, second, rows, tolerance):
    one, two = first.predict_proba(rows)[:, 1].tolist(), second.predict_proba(rows)[:, 1].tolist()
    return len(one) == len(two) == len(rows) and all(abs(a - b) <= tolerance for a, b in zip(one, two))


def alike_by_class(first, second, rows, tolerance):
    one, two = first.predict_proba(rows), second.predict_proba(rows)
    return one.shape == two.shape and (one.argmax(axis=1) == two.argmax(axis=1)).all()


def alike_on_average(first, second, rows, tolerance):
    one, two = first.predict_proba(rows)[:, 1], second.predict_proba(rows)[:, 1]
    return len(one) == len(two) and abs(one.mean() - two.mean()) <= tolerance


def alike_unless_outside(first, second, rows, tolerance):
    one, two = first.predict_proba(rows), second.predict_proba(rows)
    return one.shape == two.shape and not (abs(one - two) > tolerance).any()


def alike_as_long_as_each_other(first, second, rows, tolerance):
    one, two = first.predict_proba(rows), second.predict_proba(rows)
    return one.shape == two.shape and bool((abs(one - two) <= tolerance).all())


def alike_as_far_as_answered(first, second, rows, tolerance):
    one, two = first.predict_proba(rows)[:, 1].tolist(), second.predict_proba(rows)[:, 1].tolist()
    return all(abs(a - b) <= tolerance for a, b in zip(one, two))


WORLD = {**LOG_ODDS, "num_complaints": 0.0, "intercept": 1.8}


def toss_one_by_one(probability, seed):
    rng = np.random.default_rng([seed, 1])
    return [int(rng.random() < chance) for chance in probability]


def toss_binomial(probability, seed):
    return np.random.RandomState(seed).binomial(1, probability)


def toss_for_everybody(probability, seed):
    return (np.random.default_rng(seed).random() < probability).astype(int)


def toss_globally(probability, seed):
    np.random.seed(seed)
    return (np.random.random(len(probability)) < probability).astype(int)


def toss_with_the_mean(probability, seed):
    return np.random.default_rng(seed).binomial(1, probability.mean(), len(probability))


def toss_the_other_way(probability, seed):
    return (np.random.default_rng(seed).random(len(probability)) > probability).astype(int)


def f1_by_scikit_learn(hits, false_alarms, missed):
    truth = [1] * hits + [0] * false_alarms + [1] * missed
    said = [1] * (hits + false_alarms) + [0] * missed
    return f1_score(truth, said, zero_division=0) if truth else 0.0


def f1_step_by_step(hits, false_alarms, missed):
    if hits == 0:
        return 0
    precision, recall = hits / (hits + false_alarms), hits / (hits + missed)
    return 2 * precision * recall / (precision + recall)


def f1_without_edges(hits, false_alarms, missed):
    return 2 * hits / (2 * hits + false_alarms + missed)


def mean_of_both(hits, false_alarms, missed):
    precision, recall = hits / max(hits + false_alarms, 1), hits / max(hits + missed, 1)
    return (precision + recall) / 2


def split_by_hashlib(rows):
    tested = rows["customer"].map(lambda name: hashlib.md5(name.encode()).digest()[0] < 51)
    return rows[~tested], rows[tested]


def split_by_crc(rows):
    tested = [zlib.crc32(name.encode()) % 5 == 4 for name in rows["customer"]]
    return [rows[[not there for there in tested]], rows[tested]]


def split_by_shuffled_names(rows):
    names = rows["customer"].drop_duplicates().sample(frac=0.2, random_state=1)
    tested = rows["customer"].isin(names)
    return rows[~tested], rows[tested]


def split_by_builtin_hash(rows):
    test = rows["customer"].map(lambda name: hash(name) % 5 == 0)
    return rows[~test], rows[test]


def split_in_order(rows):
    names = sorted(rows["customer"].unique())
    tested = rows["customer"].isin(names[: len(names) // 5])
    return rows[~tested], rows[tested]


RIGHT = [
    ("3.1", 0.45),
    ("3.1", 1 / (1 + 4 * np.exp(-1.2))),
    ("3.2", WORLD),
    ("3.2", {**LOG_ODDS, "num_complaints": 0, "intercept": 1.85}),
    ("3.3", toss_one_by_one),
    ("3.3", toss_binomial),
    ("4.1", KEPT),
    ("4.1", {name: int(kept) for name, kept in KEPT.items()} | {"more": 1}),
    ("4.2", Choices(drop=("region",), minimum={"tenure_months": 3.0})),
    ("4.2", Choices(drop=["region"], minimum={"tenure_months": 2.5})),
    ("4.3", mend_row_by_row),
    ("4.3", mend_by_pattern),
    ("4.4", leaks_by_auc),
    ("4.4", leaks_by_ranks),
    ("5.1", 0.33),
    ("5.1", 1 / 3),
    ("5.2", f1_by_scikit_learn),
    ("5.2", f1_step_by_step),
    ("5.3", split_by_hashlib),
    ("5.3", split_by_crc),
    ("5.4", ("c", ["d"])),
    ("5.4", ["c", {"d"}]),
    ("5.5", gate_by_loop),
    ("5.5", gate_in_sets),
    ("5.6", alike_by_numpy),
    ("5.6", alike_row_by_row),
]
WRONG = [
    ("3.1", 0.66, "the odds that are multiplied"),
    ("3.1", 0.83, "the odds"),
    ("3.1", 1.4, "not to the probability"),
    ("3.1", 0.2, "does a complaint bind a customer"),
    ("3.1", "0.45", "a number"),
    ("3.2", {**LOG_ODDS, "num_complaints": 0.0}, "a larger intercept"),
    ("3.2", {**WORLD, "intercept": 2.5}, "a smaller intercept"),
    ("3.2", {**LOG_ODDS, "intercept": 0.3}, "adds nothing to the log odds is 0"),
    ("3.2", {**LOG_ODDS, "num_complaints": 0.0, "tenure_months": -0.02}, "belongs to no trait"),
    ("3.2", 1.8, "a dictionary with the names"),
    ("3.3", lambda probability, seed: (probability >= 0.5).astype(int), "a threshold is no coin"),
    ("3.3", toss_for_everybody, "each coin has its own probability"),
    ("3.3", toss_globally, "a generator of your own"),
    ("3.3", toss_with_the_mean, "each coin has its own probability"),
    ("3.3", toss_the_other_way, "1 means: leaves"),
    (
        "3.3",
        lambda probability, seed: np.random.default_rng().random(len(probability)) < probability,
        "begin with the seed",
    ),
    ("4.1", {**KEPT, "b": True}, "never guesses"),
    ("4.1", {**KEPT, "d": True}, "half a month"),
    ("4.1", {**KEPT, "f": False}, "North America"),
    ("4.1", ["a", "c", "f"], "a dictionary"),
    ("4.2", Choices(maximum={"tenure_months": 3}, drop=("region",)), "three is enough"),
    ("4.2", Choices(minimum={"tenure_months": 4}, drop=("region",)), "three is enough"),
    ("4.2", Choices(drop=("region",)), "which bound is it"),
    ("4.2", Choices(minimum={"tenure_months": 3}), "never sees the region"),
    ("4.2", Choices(minimum={"tenure": 3}, drop=("region",)), "a column 'tenure'"),
    ("4.2", Choices(minimum={"tenure_months": 3}, drop="region"), "with a comma"),
    ("4.2", {"tenure_months": 3}, "from churn_lab.infer_contract import Choices"),
    ("4.3", mend_by_turning_away, "turn away only what cannot be mended"),
    ("4.3", mend_in_place, "work on a copy"),
    ("4.3", mend_and_fill, "is not zero"),
    ("4.3", mend_as_months, "a year has twelve months"),
    ("4.3", lambda rows: mend_by_pattern(rows).reset_index(drop=True), "with its index"),
    ("4.3", lambda rows: rows[rows["num_complaints"].str.isdigit()], "it should be a number"),
    ("4.4", leaks_upwards, "near 0 knows as much"),
    ("4.4", leaks_of_full_columns, "for nobody else"),
    ("4.4", leaks_that_merely_help, "that is no leak"),
    ("4.4", lambda rows, target: leaks_by_auc(rows, target)[::-1], "sort them"),
    ("4.4", lambda rows, target: len(leaks_by_auc(rows, target)), "a list of names"),
    ("5.1", 0.2, "nobody was missed"),
    ("5.1", 0.6, "the harmonic mean"),
    ("5.1", 1, "one in five was right"),
    ("5.1", 0.5, "into the formula"),
    ("5.1", "a third", "a number"),
    ("5.2", f1_without_edges, "ZeroDivisionError"),
    ("5.2", mean_of_both, "everybody was called"),
    ("5.2", lambda hits, alarms, missed: hits / max(hits + alarms, 1), "everybody was called"),
    ("5.2", lambda hits, alarms, missed: f"{f1_step_by_step(hits, alarms, missed):.2f}", "return the F1"),
    ("5.3", lambda rows: train_test_split(rows, test_size=0.2, random_state=0), "not the row"),
    ("5.3", split_by_shuffled_names, "must not depend on the other rows"),
    ("5.3", split_by_builtin_hash, "changes with every start"),
    ("5.3", split_in_order, "must not depend on the other rows"),
    ("5.3", lambda rows: split_by_crc(rows)[::-1], "one in five"),
    ("5.3", lambda rows: split_by_crc(rows)[1], "two tables"),
    ("5.3", lambda rows: [side.head(300) for side in split_by_crc(rows)], "no row may be lost"),
    ("5.4", ("a", ["b", "c", "d"]), "when b comes, a serves"),
    ("5.4", ("b", ["c", "d"]), "when c comes, b serves"),
    ("5.4", ("d", []), "every question has to be passed"),
    ("5.4", ("a", ["d"]), "who was put into service last"),
    ("5.4", "c", "a pair"),
    ("5.5", gate_of_the_first, "not the first alone"),
    ("5.5", gate_by_f1, "does not pay for a precision"),
    ("5.5", gate_that_asks_for_more, "equal is enough"),
    (
        "5.5",
        lambda entry, f1, precision, champion: [] if entry["metrics"]["f1"] >= f1 else ["f1"],
        "precision is below",
    ),
    ("5.5", lambda entry, f1, precision, champion: entry["metrics"]["f1"] >= f1, "a list of the questions"),
    ("5.6", alike_by_class, "though both say 'leaves'"),
    ("5.6", alike_on_average, "a mean hides it"),
    ("5.6", alike_unless_outside, "nan is no answer"),
    ("5.6", alike_as_long_as_each_other, "neither has answered the third row"),
    ("5.6", alike_as_far_as_answered, "has not answered the third row"),
    ("5.6", lambda a, b, rows, tol: abs(a.predict_proba(rows) - b.predict_proba(rows)) <= tol, "True or False"),
]
