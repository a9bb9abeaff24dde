#!/usr/bin/env python3
"""guard.py RESULTS.jsonl [--slower PERCENT] [--cpu PERCENT] - is the checkout slower than the binary it was measured beside?

Status 1: yes, by 5 % or more, or by what is given.

The lines are run_matrix.py's, of the relays `before` and `martlet` in turns. What counts is the ratio within a round, because a
machine's speed drifts. Delivered messages per second and CPU per message are judged alike: all cells together, and each cell
that is worse by 5 % beyond two standard errors of its own.
"""

import argparse
import collections
import json
import math
import statistics
import sys

MEASURES = (("delivered_s", 1), ("cpu_us", -1))  # more is better, less is better


def ratios(lines, measure, sign):
    """The logarithm of each round's ratio by cell; above 0 is better than before."""
    found = collections.defaultdict(dict)
    for x in lines:
        cell = (x["size"], x["sess"], x["mode"], x["rcpt"])
        found[cell, x["i"]][x["relay"]] = x[measure]
    cells = collections.defaultdict(list)
    for (cell, _), both in found.items():
        if both.get("before") and both.get("martlet"):
            cells[cell].append(sign * math.log(both["martlet"] / both["before"]))
    return cells


def judge(lines, slower=5.0, cpu=5.0):
    """Sentences about each cell and all of them, and whether the checkout passes: percent that it may be worse."""
    said, passes = [], True
    limits = {"delivered_s": math.log(1 - slower / 100), "cpu_us": -math.log(1 + cpu / 100)}
    for measure, sign in MEASURES:
        limit = limits[measure]
        means = []
        for cell, logs in sorted(ratios(lines, measure, sign).items()):
            mean = statistics.fmean(logs)
            error = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0
            means.append(mean)
            is_worse = mean + 2 * error < limit
            passes = passes and not is_worse
            size, sessions, mode, recipients = cell
            said.append(
                f"{measure} {size // 1024} KiB, {sessions} sessions, {'kept' if mode == 'd' else 'one each'}, "
                f"{recipients} recipients: {100 * (math.exp(mean) - 1):+.1f} % ± {100 * error:.1f}"
                + (" WORSE" if is_worse else "")
            )
        if not means:
            return [f"{measure}: nothing was measured"], False
        whole = statistics.fmean(means)
        passes = passes and whole >= limit
        said.append(f"{measure}, all: {100 * (math.exp(whole) - 1):+.1f} %" + ("" if whole >= limit else " WORSE"))
    return said, passes


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("results")
    options.add_argument("--slower", type=float, default=5.0, help="percent of delivered/s that may be lost")
    options.add_argument("--cpu", type=float, default=5.0, help="percent of CPU a message that may be added")
    options = options.parse_args()
    with open(options.results) as results:
        sentences, passed = judge([json.loads(line) for line in results], options.slower, options.cpu)
    print(*sentences, sep="\n")
    sys.exit(0 if passed else 1)
