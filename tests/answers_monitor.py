"""Answers to the exercises of steps 8 and 10: right ones in ways of their own, wrong ones with what they are told."""

import math
import re
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


STATES = {"src/train.py": "MM", "src/api.py": " D", "notes.md": "??", "src/rollback.py": ""}


def lost_by_recursion(parents, labels, branch, target):
    def behind(commit):
        return {commit}.union(*map(behind, parents[commit]))

    kept = set().union(*(behind(commit) for name, commit in labels.items() if name != branch), behind(target))
    return sorted(behind(labels[branch]) - kept)


def lost_by_growing(parents, labels, branch, target):
    def grow(commits):
        more = commits | {parent for commit in commits for parent in parents[commit]}
        return commits if more == commits else grow(more)

    return grow(set(labels.values())) - grow(set((labels | {branch: target}).values()))


def lost_on_the_first_line(parents, labels, branch, target):
    def line(commit):
        return [commit, *(line(parents[commit][0]) if parents[commit] else [])]

    others = [line(labels[name]) for name in labels if name != branch]
    return set(line(labels[branch])).difference(line(target), *others)


def lost_without_other_labels(parents, labels, branch, target):
    return lost_by_growing(parents, {branch: labels[branch]}, branch, target)


def settle_by_lines(text, gate_f1):
    settled, conflict = [], None
    for line in text.splitlines(keepends=True):
        if line.startswith("<<<<<<< "):
            conflict = []
        if conflict is None:
            settled.append(line)
            continue
        conflict.append(line)
        if line.startswith(">>>>>>> "):
            ours = any(line.startswith("gate_f1 =") for line in conflict)
            settled += [f"gate_f1 = {gate_f1:.2f}\n"] if ours else conflict
            conflict = None
    return "".join(settled)


def settle_by_splitting(text, gate_f1):
    parts = re.split(r"(?m)(^<{7} (?:.*\n)*?>{7} .*\n)", text)
    return "".join(f"gate_f1 = {gate_f1}\n" if p.startswith("<" * 7) and "gate_f1" in p else p for p in parts)


def settle_greedily(text, gate_f1):
    return re.sub(r"^<<<<<<< .*^>>>>>>> [^\n]*\n", f"gate_f1 = {gate_f1}\n", text, flags=re.M | re.S)


def settle_all(text, gate_f1):
    return re.sub(r"^<<<<<<< .*?^>>>>>>> [^\n]*\n", f"gate_f1 = {gate_f1}\n", text, flags=re.M | re.S)


def settle_by_dropping_markers(text, gate_f1):
    lines = [line for line in text.splitlines(keepends=True) if line[:7] not in ("<" * 7, "=" * 7, ">" * 7)]
    return "".join(lines)


def settle_with_ours(text, gate_f1):
    return re.sub(r"(?ms)^<<<<<<< [^\n]*\n(gate_f1[^\n]*\n).*?^>>>>>>> [^\n]*\n", r"\1", text)


RIGHT = [
    ("8.1", VERDICTS),
    ("8.1", {**VERDICTS, "nobody": "not enough data"}),
    ("8.2", psi_by_pandas),
    ("8.2", psi_by_divergences),
    ("8.3", mend_by_loop),
    ("8.3", mend_by_place),
    ("8.4", alarm_by_loop),
    ("8.4", alarm_by_groups),
    ("10.1", STATES),
    ("10.1", {**STATES, "more": "A "}),
    ("10.2", lost_by_recursion),
    ("10.2", lost_by_growing),
    ("10.3", settle_by_lines),
    ("10.3", settle_by_splitting),
]
WRONG = [
    ("8.1", {**VERDICTS, FEW: "drift"}, "too few for any verdict"),
    ("8.1", {**VERDICTS, MANY: "drift"}, "not even certain"),
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
    ("10.1", {**STATES, "src/train.py": "M "}, "once more after it"),
    ("10.1", {**STATES, "src/api.py": "D "}, "a space and a letter"),
    ("10.1", {**STATES, "src/rollback.py": " M"}, "edited and restored"),
    ("10.1", ["MM", " D"], "fill in the dictionary"),
    ("10.2", lost_on_the_first_line, "a merge has two parents"),
    ("10.2", lost_without_other_labels, "tuning still leads to b"),
    ("10.2", lambda parents, labels, branch, target: {labels[branch]} - {target}, "has no name any more"),
    ("10.2", lambda parents, labels, branch, target: len(parents), "return the commits themselves"),
    ("10.3", settle_all, "nobody has decided about seed"),
    ("10.3", settle_greedily, "nobody has decided about seed"),
    ("10.3", settle_by_dropping_markers, "one line stays"),
    ("10.3", settle_with_ours, "put in the value that was asked for"),
]
