"""Answers to the exercises of steps 8 and 10: right ones in ways of their own, wrong ones with what they are told."""

import math
from collections import Counter

import numpy as np
import pandas as pd
from scipy.special import kl_div
from sklearn.metrics import f1_score

VERDICTS = {
    "5 customers, all from Mars": "not enough data",
    "200 clones of one extreme customer": "drift",
    "100,000 customers, with us half a month longer than those of training": "stable",
    "200 customers as in training, who leave for other reasons": "stable",
}
FEW, _, MANY, CONCEPT = VERDICTS


def psi_by_pandas(before, now):
    table = pd.DataFrame({"p": pd.Series(before), "q": pd.Series(now)}).fillna(0) + 0.5
    table /= table.sum()
    return round(((table["q"] - table["p"]) * np.log(table["q"] / table["p"])).sum(), 4)


def psi_by_divergences(before, now):
    names = list(before | now)
    p, q = (np.array([Counter(side)[name] for name in names]) + 0.5 for side in (before, now))
    p, q = p / p.sum(), q / q.sum()
    return kl_div(p, q).sum() + kl_div(q, p).sum()


def psi_of_counts(before, now):
    return sum((now[k] - before[k]) * math.log(now[k] / before[k]) for k in before.keys() & now.keys())


def psi_with_log10(before, now):
    return psi_by_pandas(before, now) / math.log(10)


def psi_of_the_known(before, now):
    return psi_by_pandas(before, {name: count for name, count in now.items() if name in before})


def mend_by_loop(minutes, longest):
    mended, seconds = [], False
    for value in minutes:
        seconds = seconds or value > longest
        mended.append(value / 60 if seconds else value)
    return pd.Series(mended, dtype=float)


def mend_by_place(minutes, longest):
    places = np.flatnonzero(minutes > longest)
    mended = minutes.copy()
    if len(places):
        mended.iloc[places[0] :] /= 60
    return mended


def mend_in_place(minutes, longest):
    minutes[(minutes > longest).cummax()] /= 60
    return minutes


def alarm_by_loop(predictions, labels, today, gate_f1, least):
    truth = {row.request_id: row.churn for row in labels.itertuples() if row.arrived <= today}
    months = []
    for month in sorted(set(predictions["month"])):
        rows = [
            (r.said, truth[r.request_id])
            for r in predictions[predictions["month"] == month].itertuples()
            if r.request_id in truth
        ]
        hits, all_in_all = sum(said and left for said, left in rows), sum(said + left for said, left in rows)
        if len(rows) >= least and 2 * hits < gate_f1 * all_in_all:
            months.append(month)
    return months


def alarm_by_groups(predictions, labels, today, gate_f1, least, keep=lambda table, today: table["arrived"] <= today):
    table = predictions.merge(labels, on="request_id")
    table = table[keep(table, today)].assign(hit=lambda t: t["said"] * t["churn"])
    sums = table.groupby("month").agg({"said": "sum", "churn": "sum", "hit": "sum", "request_id": "count"})
    low = (2 * sums["hit"] / (sums["said"] + sums["churn"]) < gate_f1) & (sums["request_id"] >= least)
    return low.index[low]


def alarm_that_peeks(predictions, labels, today, gate_f1, least):
    return alarm_by_groups(predictions, labels, today, gate_f1, least, lambda table, today: table["arrived"] > -1)


def alarm_on_few(predictions, labels, today, gate_f1, least):
    return alarm_by_groups(predictions, labels, today, gate_f1, 1)


def alarm_at_a_gate_of_its_own(predictions, labels, today, gate_f1, least):
    return alarm_by_groups(predictions, labels, today, 0.6, least)


def alarm_that_takes_no_label_for_no(predictions, labels, today, gate_f1, least):
    table = predictions.merge(labels[labels["arrived"] <= today], on="request_id", how="left").fillna({"churn": 0})
    scores = {month: f1_score(rows["churn"], rows["said"]) for month, rows in table.groupby("month")}
    return [month for month, score in scores.items() if score < gate_f1]


RIGHT = [
    ("8.1", VERDICTS),
    ("8.1", {**VERDICTS, "nobody": "not enough data"}),
    ("8.2", psi_by_pandas),
    ("8.2", psi_by_divergences),
    ("8.3", mend_by_loop),
    ("8.3", mend_by_place),
    ("8.4", alarm_by_loop),
    ("8.4", alarm_by_groups),
]
WRONG = [
    ("8.1", {**VERDICTS, FEW: "drift"}, "too few for any verdict"),
    ("8.1", {**VERDICTS, MANY: "drift"}, "is it large?"),
    ("8.1", {**VERDICTS, CONCEPT: "drift"}, "has one of them moved?"),
    ("8.1", {**VERDICTS, CONCEPT: "yes"}, "the verdict is the first word"),
    ("8.1", "drift", "fill in the dictionary"),
    ("8.2", psi_of_counts, "compare shares, not counts"),
    ("8.2", psi_with_log10, "the natural logarithm"),
    ("8.2", psi_of_the_known, "a category that is new must count"),
    ("8.3", lambda minutes, longest: minutes.where(minutes <= longest, minutes / 60), "45 seconds are seconds, too"),
    ("8.3", lambda minutes, longest: minutes / 60, "from the first line in seconds on"),
    ("8.3", lambda minutes, longest: mend_by_place(minutes.dropna(), longest), "return all lines"),
    ("8.3", mend_in_place, "work on a copy"),
    ("8.4", alarm_that_peeks, "the labels of month 2 have not arrived"),
    ("8.4", alarm_on_few, "of month 3 there are too few"),
    ("8.4", alarm_at_a_gate_of_its_own, "compare with the gate that was given"),
    ("8.4", alarm_that_takes_no_label_for_no, "have not arrived"),
]
