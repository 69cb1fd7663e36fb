"""The picture of an upgrade under load, as SVG: the workers over time, the requests by who answered, and their sums.

It draws the `Run` that picture.py has seen, and measures nothing itself. The SVG has no scripts and no references to
elsewhere; it is dark where the reader's system is.
"""

import collections
import math
from xml.sax.saxutils import escape

SLICE_S = 0.1
WIDTH, HEIGHT, MARGIN = 880, 628, 28
LEFT, RIGHT = 128, 852
MARKS_Y, MASTER_Y, LANES_Y, BAR, BAR_GAP, PAIR_GAP = 122, 148, 168, 19, 2, 12
CHART_Y, CHART_HEIGHT, SUMS_Y = 408, 96, 580

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 22px; font-weight: 600 } .big { font-size: 25px; font-weight: 600 } .small { font-size: 12px }
.bold { font-weight: 600 } .end { text-anchor: end } .mid { text-anchor: middle } .faint { opacity: .3 }
.card { fill: #fff; stroke: #d1d9e0 } .soft { fill: #59636e } .grid { stroke: #e4e8ec } .axis { stroke: #818b98 }
.mark { stroke: #59636e; stroke-dasharray: 3 3 } .master { fill: #818b98 }
.knot { fill: #fff; stroke: #59636e; stroke-width: 2 }
.old { fill: #2a6fbb } .on-old { fill: #fff } .say-old { fill: #1f5fa8 } .going-old { fill: url(#hatch-old) }
.new { fill: #e8890c } .on-new { fill: #1f1300 } .say-new { fill: #a15200 } .going-new { fill: url(#hatch-new) }
.lost { fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .card { fill: #0d1117; stroke: #30363d } .soft { fill: #9198a1 } .grid { stroke: #21262d }
.axis { stroke: #656c76 } .mark { stroke: #9198a1 } .master { fill: #656c76 }
.knot { fill: #0d1117; stroke: #9198a1 }
.old { fill: #4d97e8 } .on-old { fill: #04182f } .say-old { fill: #79b8ff }
.new { fill: #e8963a } .say-new { fill: #f5b75f } .lost { fill: #ff7b72 }
}"""


class Drawing:
    """The elements of an SVG, and where a time is in it."""

    def __init__(self, began, ended):
        self.began, self.ended, self.elements = began, ended, []

    def x(self, when):
        part = (min(max(when, self.began), self.ended) - self.began) / (self.ended - self.began)
        return round(LEFT + part * (RIGHT - LEFT), 1)

    def add(self, element):
        self.elements.append(element)

    def text(self, x, y, words, kind):
        self.add(f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.add(f'<path d="M{x1} {y1}L{x2} {y2}" class="{kind}"/>')

    def bar(self, start, end, y, height, kind):
        """A bar from one time to another, unless nothing of it would be seen."""
        x, width = self.x(start), round(self.x(end) - self.x(start), 1)
        if width > 0 and height > 0:
            self.add(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{kind}"/>')


def draw(run):
    """The whole picture, as text."""
    drawing = Drawing(run.began, run.last())
    draw_head(drawing, run)
    draw_marks(drawing, run)
    draw_master(drawing, run)
    draw_workers(drawing, run)
    draw_chart(drawing, run)
    draw_sums(drawing, run)
    body = "\n".join(drawing.elements)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"
role="img" aria-labelledby="title desc">
<title id="title">{escape(headline(run))}</title>
<desc id="desc">{escape(description(run))}</desc>
<style>{STYLE}</style>
<defs>{hatch("old")}{hatch("new")}</defs>
<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10" class="card"/>
{body}
</svg>
"""


def hatch(kind):
    return (
        f'<pattern id="hatch-{kind}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="6" height="6" class="{kind} faint"/><rect width="2.6" height="6" class="{kind}"/></pattern>'
    )


def headline(run):
    return f"An upgrade under load: {len(run.requests):,} requests, {len(run.lost()):,} lost"


def description(run):
    served = ", ".join(f"{run.served_by(release)} were answered by release {release}" for release in run.releases)
    return (
        f"{run.worker_count} workers are replaced, one after the other: a new one starts, then serves, and only then "
        f"an old one is told to go and finishes what it has begun. The upgrade took {run.done:.1f} s. "
        f"Of {len(run.requests)} requests {served}, and {len(run.lost())} were lost. "
        f"There were never fewer than {run.serving_least} workers that served."
    )


def draw_head(drawing, run):
    drawing.text(MARGIN, 44, headline(run), "title lost" if run.lost() else "title")
    first = "Each new worker starts, then serves, and only then an old one is told to go: it finishes"
    drawing.text(MARGIN, 70, first, "soft")
    second = f"what it has begun. A real run, {run.rate} requests a second, each on a connection of its own."
    drawing.text(MARGIN, 88, second, "soft")


def draw_marks(drawing, run):
    """What happened when; the lines leave room for the words above the chart."""
    for when in (0, run.done, run.ended):
        x = drawing.x(when)
        drawing.line(x, MARKS_Y - 10, x, CHART_Y - 32, "mark")
        drawing.line(x, CHART_Y - 6, x, CHART_Y + CHART_HEIGHT, "mark")
    drawing.text(LEFT, MARKS_Y, "load begins", "small soft")
    drawing.text(drawing.x(0) + 7, MARKS_Y, "einhyrningsinsctl upgrade", "small bold")
    drawing.text(drawing.x(run.done) + 7, MARKS_Y, "upgrade done", "small bold")
    drawing.text(drawing.x(run.ended) - 7, MARKS_Y, "load ends", "small soft end")


def draw_master(drawing, run):
    drawing.text(LEFT - 14, MASTER_Y + 4, f"master {run.master}", "small soft end")
    drawing.bar(run.began, run.last(), MASTER_Y - 2, 4, "master")
    if run.replaced is not None:
        x = drawing.x(run.replaced)
        drawing.add(f'<circle cx="{x}" cy="{MASTER_Y}" r="5" class="knot"/>')
        drawing.text(x + 10, MASTER_Y - 7, "replaces its own program, keeps its pid", "small soft")


def draw_workers(drawing, run):
    """Each old worker above the new one that it went for."""
    old = sorted((worker for worker in run.workers if worker.version == 0), key=lambda worker: worker.told)
    new = sorted((worker for worker in run.workers if worker.version > 0), key=lambda worker: worker.acked)
    for pair, (elder, younger) in enumerate(zip(old, new)):
        y = LANES_Y + pair * (2 * BAR + BAR_GAP + PAIR_GAP)
        draw_lane(drawing, elder, "old", y)
        draw_lane(drawing, younger, "new", y + BAR + BAR_GAP)
        if pair == 0:
            draw_states(drawing, elder, "old", run.releases[0], y + 14)
            draw_states(drawing, younger, "new", run.releases[1], y + BAR + BAR_GAP + 14)


def draw_lane(drawing, worker, kind, y):
    drawing.text(LEFT - 14, y + 14, f"worker {worker.pid}", f"small end say-{kind}")
    drawing.bar(worker.launched, worker.acked, y, BAR, f"{kind} faint")
    drawing.bar(worker.acked, worker.told, y, BAR, kind)
    drawing.bar(worker.told, worker.gone, y, BAR, f"going-{kind}")


def draw_states(drawing, worker, kind, release, y):
    """Says in words what the parts of a lane are."""
    drawing.text(drawing.x(worker.acked) + 8, y, f"release {release}, serving", f"small on-{kind}")
    if worker.launched > drawing.began:
        drawing.text(drawing.x(worker.launched) + 8, y, "starting", f"small say-{kind}")
    if worker.gone < drawing.ended:
        drawing.text(drawing.x(worker.gone) + 7, y, "finishing", f"small say-{kind}")


def draw_chart(drawing, run):
    """How many were answered in each slice of time, by whom, and how many were lost then."""
    stack = ((run.releases[0], "old"), (run.releases[1], "new"), (None, "lost"))
    slices = collections.Counter((math.floor((r.ended - run.began) / SLICE_S), r.release) for r in run.requests)
    highest = max(sum(slices[at, release] for release, _ in stack) for at, _ in slices)
    bottom, unit = CHART_Y + CHART_HEIGHT, CHART_HEIGHT / highest
    drawing.text(LEFT, CHART_Y - 14, "requests answered in each tenth of a second, and by whom", "small soft")
    for at in sorted({at for at, _ in slices}):
        start, below = run.began + at * SLICE_S, 0
        for release, kind in stack:
            count = slices[at, release]
            top = round(bottom - (below + count) * unit, 1)
            drawing.bar(start, start + SLICE_S * 0.88, top, round(count * unit, 1), kind)
            below += count
    for count in range(10, highest + 1, 10):
        y = round(bottom - count * unit, 1)
        drawing.line(LEFT, y, RIGHT, y, "grid")
        drawing.text(LEFT - 14, y + 4, str(count), "small soft end")
    drawing.line(LEFT, bottom, RIGHT, bottom, "axis")
    for tick in range(math.ceil(run.began), math.floor(run.last()) + 1):
        drawing.text(drawing.x(tick), bottom + 18, f"{tick} s".replace("-", "\u2212"), "small soft mid")


def draw_sums(drawing, run):
    lost = len(run.lost())
    one, two = run.releases
    sums = (
        (MARGIN, f"{len(run.requests):,}", "requests sent", ""),
        (160, f"{run.served_by(one):,}", f"answered by release {one}", "say-old"),
        (346, f"{run.served_by(two):,}", f"answered by release {two}", "say-new"),
        (532, f"{lost:,}", "lost", "lost" if lost else ""),
        (634, f"{run.serving_least} of {run.worker_count}", "workers served at every moment", ""),
    )
    for x, number, words, kind in sums:
        drawing.text(x, SUMS_Y, number, f"big {kind}".strip())
        drawing.text(x, SUMS_Y + 20, words, "small soft")
