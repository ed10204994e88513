# SPDX-License-Identifier: MIT
"""The pictures of the report, drawn by gnuplot."""

import shutil
import subprocess
from itertools import accumulate

HEAD = """set terminal svg size 900,520 font 'sans,13' background '#ffffff'
set output '{path}'
set title '{title}'
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
set key outside right top
"""


def blocks(series):
    """Data for gnuplot: a named block for each series."""
    return "".join(f"$D{k} << EOD\n" + "".join(f"{x} {y}\n" for x, y in points) + "EOD\n"
                   for k, (_, points) in enumerate(series))


COLORS = ("4070b0", "e08020", "309050", "8050a0", "a07040", "d070b0", "30a0b0", "909000")


def style(k, name):
    if name == "ipcmap":
        return "lw 4 lc rgb '#c00000'"
    if name == "floor":
        return "lw 2 dt 3 lc rgb '#777777'"
    return f"lw 2 dt {1 + k // len(COLORS)} lc rgb '#{COLORS[k % len(COLORS)]}'"


def lines_plot(out, name, title, series, x, y, setup=""):
    text = HEAD.format(path=f"{out}/{name}.svg", title=title)
    text += f"set xlabel '{x}'\nset ylabel '{y}'\n{setup}\n" + blocks(series)
    text += "plot " + ", ".join(f"$D{k} with lines {style(k, s)} title '{s}'"
                                for k, (s, _) in enumerate(series)) + "\n"
    return name, text


def bars_plot(out, name, title, values, y):
    text = HEAD.format(path=f"{out}/{name}.svg", title=title)
    text += (f"set ylabel '{y}'\nunset key\nset style fill solid 0.8\nset boxwidth 0.7\n"
             "set xtics rotate by -40\nset yrange [0:*]\n$D << EOD\n")
    for k, (peer, value) in enumerate(values):
        rgb = {"ipcmap": "0xc00000", "floor": "0x999999"}.get(peer, "0x4070b0")
        text += f'{k} "{peer}" {value / 1e6} {rgb}\n'
    text += ("EOD\nplot $D using 1:3:4:xtic(2) with boxes lc rgb variable, "
             "$D using 1:3:(sprintf('%.3g', $3)) with labels offset 0,0.7\n")
    return name, text


def all_plots(res, out):
    peers = list(res.raw["peers"])
    for data in res.values("data", run="get"):
        values = [(p, res.rate(data, "get", 1, p)) for p in peers]
        values = [(p, v) for p, v in values if v]
        if values:
            yield bars_plot(out, f"get-{data}", f"get, one worker, {res.raw['data'][data]}",
                            values, "million gets per second")
    mixes = [("get", 100)] + [(f"{r}/{100 - r}", r) for r in (90, 85, 70, 50, 0)]
    for workers in (1, 2):
        series = []
        for p in peers:
            points = [(100 - share, res.rate("1m", run, workers, p)) for run, share in mixes]
            points = [(x, v / 1e6) for x, v in points if v]
            if len(points) > 2:
                series.append((p, points))
        if series:
            yield lines_plot(out, f"mix-{workers}", f"1 million entries, gets and updates, "
                             f"{workers} worker{'s' if workers > 1 else ''}", series,
                             "percent updates", "million operations per second",
                             "set yrange [0:*]")
    for run, name in (("get, each timed", "latency-get"), ("put, each timed", "latency-put")):
        series = []
        for p in res.values("peer", data="1m", run=run, workers=1):
            hist, _ = res.hist("1m", run, 1, p)
            total = left = sum(c for _, c in hist)
            points = []
            for ns, count in hist:
                points.append((ns, left / total))
                left -= count
            series.append((p, points))
        if series:
            yield lines_plot(out, name, f"{run}, 1 million entries, one worker", series,
                             "nanoseconds", "share that took longer", "set logscale xy\n"
                             "set format y '10^{%T}'\nset yrange [1e-6:1]")
    series = []
    for load in [x for x in res.raw["loads"] if "slowest" in x]:
        step = res.raw["n"][load["data"]] / len(load["slowest"]) / 1e6
        so_far = list(accumulate(load["slowest"], max))
        series.append((load["peer"], [((k + 1) * step, ns / 1e6) for k, ns in enumerate(so_far)]))
    if series:
        yield lines_plot(out, "grow", "The slowest insert so far, while the map grows", series,
                         "million entries", "milliseconds", "set logscale y")


def draw(res, out):
    """Draws what there are figures for; returns the report's lines about it."""
    drawn = []
    if not shutil.which("gnuplot"):
        return ["No pictures: gnuplot is missing here.", ""]
    for name, text in all_plots(res, out):
        subprocess.run(["gnuplot"], input=text, text=True, check=True)
        drawn.append(name)
    return ["## Pictures", ""] + [f"![{n}]({n}.svg)" for n in drawn] + [""] if drawn else []
