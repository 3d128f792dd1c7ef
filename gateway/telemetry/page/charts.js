// The charts: the last minutes of all models together, or of one version.

import { element, find } from "./elements.js";
import { count, milliseconds, rate, short, size } from "./format.js";

const POINTS = 300;
const SET_BACK_S = 10; // the gateway's clock was
const CHARTS = [
  { title: "Calls per second", format: rate, series: [["calls_per_s", "calls", "s1"], ["degraded_per_s", "degraded", "s3"], ["errors_per_s", "errors", "s4"]], filled: true },
  { title: "Latency of answers", format: milliseconds, axis: (value) => `${short(value)} ms`, series: [["latency_p50_ms", "p50", "s1"], ["latency_p90_ms", "p90", "s2"], ["latency_p99_ms", "p99", "s3"]] },
  { title: "Rows in a batch", format: size, series: [["rows_per_batch", "on average", "s1"]], filled: true },
  { title: "Requests", format: count, series: [["queued", "waiting", "s1"], ["in_flight", "in flight", "s2"]], filled: true },
];
const NAMES = ["at_s", ...CHARTS.flatMap((chart) => chart.series.map(([name]) => name))];

class Chart {
  constructor(parent, chart) {
    this.chart = chart;
    this.plot = null;
    this.figure = element("figure", "card chart");
    this.figure.append(element("h3", "", chart.title));
    const list = element("dl");
    this.values = chart.series.map(([, label, className]) => {
      const item = element("div", className);
      const value = element("dd", "", "\u2013");
      item.append(element("dt", "", label), value);
      list.append(item);
      return value;
    });
    this.place = element("div", "plot");
    this.place.setAttribute("aria-hidden", "true");
    this.figure.append(list, this.place);
    parent.append(this.figure);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
  }

  size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  // Colours are the page's, which follow the reader's light or dark.
  build(data) {
    this.plot?.destroy();
    const colour = (node, name) => getComputedStyle(node).getPropertyValue(name).trim();
    const [ink, grid, font] = [colour(this.place, "--muted"), colour(this.place, "--grid"), `12px ${getComputedStyle(document.body).fontFamily}`];
    const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const series = this.chart.series.map(([, label], at) => ({
      label,
      stroke: colour(this.values[at], "--stroke"),
      width: 1.75,
      points: { show: false },
      fill: this.chart.filled && at === 0 ? colour(this.place, "--fill") : undefined,
    }));
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [6, 16, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: "charts" }, points: { size: 6 } },
        scales: { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.12 : 1] } },
        axes: [
          { ...axis, size: 26, space: 70, values: (_, at) => at.map((each) => new Date(each * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })), incrs: [60, 120] },
          { ...axis, size: 58, space: 36, values: (_, at) => at.map((each) => (each === 0 ? "0" : (this.chart.axis ?? short)(each))) },
        ],
        series: [{}, ...series],
        hooks: { setCursor: [() => this.report()] },
      },
      data,
      this.place,
    );
  }

  show(data) {
    if (this.plot) this.plot.setData(data);
    else this.build(data);
    this.report();
  }

  // What stands above the chart: the point under the pointer, or the last.
  report() {
    const data = this.plot?.data;
    if (!data) return;
    const at = this.plot.cursor.idx ?? data[0].length - 1;
    this.values.forEach((node, series) => {
      const text = this.chart.format(data[series + 1][at]);
      if (node.textContent !== text) node.textContent = text;
    });
  }
}

export class Charts {
  constructor() {
    this.charts = CHARTS.map((chart) => new Chart(find("charts"), chart));
    this.columns = null;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.columns && this.charts.forEach((chart) => chart.build(this.data(chart))));
  }

  // Begins anew with what the gateway remembers; empty until it has answered.
  begin(history) {
    this.columns = Object.fromEntries(NAMES.map((name) => [name, history ? history[name].slice() : []]));
    this.draw();
  }

  add(atSeconds, point) {
    if (!this.columns || !point) return;
    const times = this.columns.at_s;
    if (times.length && atSeconds <= times.at(-1)) {
      if (times.at(-1) - atSeconds < SET_BACK_S) return; // it came with the history
      for (const name of NAMES) this.columns[name] = [];
      this.add(atSeconds, point);
      return;
    }
    for (const name of NAMES) {
      const column = this.columns[name];
      column.push(name === "at_s" ? atSeconds : (point[name] ?? null));
      if (column.length > POINTS) column.shift();
    }
    if (!document.hidden) this.draw();
  }

  draw() {
    if (this.columns) this.charts.forEach((chart) => chart.show(this.data(chart)));
  }

  // The whole stretch is shown from the beginning, so that nothing jumps while it fills.
  data(chart) {
    const { at_s: times } = this.columns;
    const columns = chart.chart.series.map(([name]) => this.columns[name]);
    const missing = times.length ? Math.max(0, POINTS - times.length) : 0;
    const before = Array.from({ length: missing }, (_, at) => times[0] - (missing - at));
    const blank = new Array(missing).fill(null);
    return [before.concat(times), ...columns.map((column) => blank.concat(column))];
  }
}
