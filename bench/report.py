"""What ./dev bench tells: medians, spread and ratios, as a dictionary for JSON, as tables, as a plot.

A ratio is ours over the better peer of the same run, with its client caches as it comes; a row that a peer did not finish has
none of it. Spread is what lies between the lowest and the highest of the repetitions, as a share of the median.
"""

import math
import statistics

import workloads

PEERS = ("moosefs", "glusterfs")
OURS = ("nacre", "nacre-uring", "nacre-lib")
# What is wanted of the better of our two mounts, over the better peer.
FLOORS = {"seqwrite": 1.3, "seqread": 1.3, "randread-1": 3.0, "randread-4": 3.0, "randread-warm-1": 3.0,
          "randread-warm-4": 3.0, "create-small-1": 2.0, "create-small-4": 2.0, "create-small-4s": 2.0}
CPU_SHARE_MAX = 0.5
COLORS = {"disk": "#888888", "tmpfs": "#bbbbbb", "nacre": "#c0392b", "nacre-uring": "#e67e22", "nacre-lib": "#8e44ad",
          "moosefs": "#2471a3", "moosefs-nocache": "#7fb3d5", "glusterfs": "#1e8449", "glusterfs-nocache": "#7dcea0"}


def rate(sample, unit):
    return (sample.bytes / 1e6 if unit == "MB/s" else sample.ops) / max(sample.seconds, 1e-9)


def cell(samples, unit):
    rates = [rate(sample, unit) for sample in samples]
    middle = statistics.median(rates)
    return {"median": round(middle, 2), "spread": round((max(rates) - min(rates)) / middle, 3),
            "rates": [round(one, 2) for one in rates],
            "cpu_us_per_op": round(statistics.median(sample.cpu * 1e6 / max(sample.ops, 1) for sample in samples), 2)}


def best(cells, names):
    """The name with the highest median among those that were measured."""
    there = [name for name in names if name in cells]
    return max(there, key=lambda name: cells[name]["median"]) if there else None


def ratios(cells):
    found = {}
    for suffix in ("", "-nocache"):
        peer = best(cells, [name + suffix for name in PEERS])
        for ours in OURS:
            if peer and ours in cells:
                found["%s/peers%s" % (ours, suffix)] = round(cells[ours]["median"] / cells[peer]["median"], 3)
    for local in ("disk", "tmpfs"):
        if local in cells and "nacre" in cells:
            found["nacre/" + local] = round(cells["nacre"]["median"] / cells[local]["median"], 3)
    cheapest = min((cells[name]["cpu_us_per_op"] for name in PEERS if name in cells), default=0)
    for ours in OURS:
        if cheapest > 0 and ours in cells:
            found["cpu %s/peers" % ours] = round(cells[ours]["cpu_us_per_op"] / cheapest, 3)
    return found


def floors(rows):
    """Rate and CPU of the better of our mounts against what is wanted."""
    found = []
    for name, row in rows.items():
        ours = best(row["cells"], ("nacre", "nacre-uring"))
        peer = best(row["cells"], PEERS)
        if ours is None or peer is None:
            continue
        if name in FLOORS:
            got = row["ratios"]["%s/peers" % ours]
            found.append({"row": name, "what": "rate", "got": got, "wanted": FLOORS[name], "column": ours, "peer": peer,
                          "met": got >= FLOORS[name]})
        got = row["ratios"].get("cpu %s/peers" % ours)
        if got is not None:
            found.append({"row": name, "what": "cpu", "got": got, "wanted": CPU_SHARE_MAX, "column": ours,
                          "peer": "the cheaper", "met": got <= CPU_SHARE_MAX})
    return found


def result(facts, samples):
    rows = {}
    for group in workloads.groups():
        for row in group.rows:
            if row.name in samples:
                cells = {column: cell(taken, row.unit) for column, taken in samples[row.name].items()}
                rows[row.name] = {"unit": row.unit, "text": row.text, "cells": cells, "ratios": ratios(cells)}
    return dict(facts, rows=rows, floors=floors(rows))


# ---- tables ----


def short(value):
    if value >= 1e6:
        return "%.2fM" % (value / 1e6)
    if value >= 1e4:
        return "%.1fk" % (value / 1e3)
    return "%.4g" % value


def table(head, lines):
    widths = [max(len(line[i]) for line in [head] + lines) for i in range(len(head))]

    def form(line):
        return "  ".join(word.ljust(width) if i == 0 else word.rjust(width)
                         for i, (word, width) in enumerate(zip(line, widths))).rstrip()

    return "\n".join([form(head)] + [form(line) for line in lines])


def rates_table(facts):
    lines = []
    for name, row in facts["rows"].items():
        line = ["%s %s" % (name, row["unit"])]
        for column in facts["columns"]:
            one = row["cells"].get(column)
            line.append("%s ~%d%%" % (short(one["median"]), round(one["spread"] * 100)) if one else "-")
        for key in ("nacre/peers", "nacre-uring/peers", "nacre/peers-nocache"):
            line.append("%.2f" % row["ratios"][key] if key in row["ratios"] else "-")
        lines.append(line)
    return table(["row"] + facts["columns"] + ["ours/peers", "uring/peers", "ours/nocache"], lines)


def cpu_table(facts):
    columns = [name for name in facts["columns"] if name not in ("disk", "tmpfs")]
    lines = []
    for name, row in facts["rows"].items():
        line = [name]
        for column in columns:
            line.append(short(row["cells"][column]["cpu_us_per_op"]) if column in row["cells"] else "-")
        key = "cpu nacre/peers"
        line.append("%.2f" % row["ratios"][key] if key in row["ratios"] else "-")
        lines.append(line)
    idle = ["idle, % of a CPU"] + ["%.4f" % facts["idle_cpu_percent"].get(column, 0) for column in columns] + [""]
    return table(["row"] + columns + ["ours/peers"], lines + [idle])


def text(facts):
    parts = ["%s run, %d repetitions in turn; Linux %s, %d CPUs, %d GiB, load %.1f at the start; nice %d"
             % (facts["scale"], facts["repetitions"], facts["machine"]["kernel"], facts["machine"]["cpus"],
                facts["machine"]["memory_gib"], facts["machine"]["load_at_start"],
                facts["nice"])]
    for name, lines in facts["configuration"].items():
        parts.append("\n".join("%s: %s" % (name, line) for line in lines))
    parts.append("Rates: median of the repetitions ~ spread; ratios over the better peer\n" + rates_table(facts))
    parts.append("CPU of all daemons per operation, us (streams: per MiB; polling included)\n" + cpu_table(facts))
    if facts["floors"]:
        parts.append("Floors: the better of our two mounts against the better peer\n" + "\n".join(
            "%-6s %-22s %-4s %6.2f, wanted %s %g (%s, %s)" % (
                "met" if one["met"] else "MISSED", one["row"], one["what"], one["got"],
                "at most" if one["what"] == "cpu" else "at least", one["wanted"], one["column"], one["peer"])
            for one in facts["floors"]))
    parts += ["FAILED " + error for error in facts["errors"]]
    return "\n\n".join(parts) + "\n"


# ---- the plot ----


def svg(facts):
    """Each row a line, each column a dot at its rate over that of our mount, on a logarithmic axis from 1/100 to 100."""
    left, width, height, top = 190, 640, 18, 60
    rows = [(name, row) for name, row in facts["rows"].items() if "nacre" in row["cells"]]
    bottom = top + height * len(rows)
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">'
             % (left + width + 20, bottom + 40), '<rect width="100%" height="100%" fill="white"/>',
             '<text x="10" y="16" font-size="13">Rates, times that of nacre over /dev/fuse; right is faster</text>']

    def at(ratio):
        return left + width * (max(-2.0, min(2.0, math.log10(max(ratio, 1e-9)))) + 2) / 4

    for i, name in enumerate(facts["columns"]):
        x = 10 + i * 92
        parts.append('<circle cx="%d" cy="34" r="4" fill="%s"/><text x="%d" y="38" font-size="9">%s</text>'
                     % (x, COLORS.get(name, "black"), x + 7, name))
    for power in (-2, -1, 0, 1, 2):
        x = at(10.0 ** power)
        parts.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle">%g'
                     '</text>' % (x, top, x, bottom, "#c0392b" if power == 0 else "#dddddd", x, bottom + 16, 10.0 ** power))
    for i, (name, row) in enumerate(rows):
        y = top + height * i + height // 2
        parts.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 4, name))
        for column, one in row["cells"].items():
            parts.append('<circle cx="%.1f" cy="%d" r="4" fill="%s" fill-opacity="0.8"><title>%s: %s %s</title></circle>'
                         % (at(one["median"] / row["cells"]["nacre"]["median"]), y, COLORS.get(column, "black"), column,
                            short(one["median"]), row["unit"]))
    return "\n".join(parts + ["</svg>"]) + "\n"
