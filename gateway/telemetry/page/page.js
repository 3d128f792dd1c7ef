// Reads the gateway's stream of events and shows it. Nothing here asks the gateway to change.

import { Charts } from "./charts.js";
import { element, find, show, showEach } from "./elements.js";
import { clock, rate, span, word } from "./format.js";
import { choosable, showEvents, showRequests } from "./lists.js";
import { ModelsTable, keyOf, showInstances, showProcesses } from "./tables.js";

const SILENT_MS = 4000;
const AGAIN_MS = 3000;
const PHASES = { starting: "warn", serving: "good", draining: "warn", stopping: "warn" };

let state = null; // the latest members of the JSON
let versions = new Map();
let chosen = null; // whose charts are shown; null: of all together
let source = null;
let receivedAt = 0; // when, by this browser's clock
let lost = null; // since when nothing comes; null: it does

const charts = new Charts();
const table = new ModelsTable(choose);

function listen() {
  source?.close();
  source = new EventSource("v2/gateway/events");
  source.addEventListener("state", (event) => {
    const update = JSON.parse(event.data);
    versions = new Map();
    state = null;
    apply(update);
    remember();
  });
  source.addEventListener("update", (event) => apply(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    lose();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

function apply(update) {
  receivedAt = Date.now();
  lost = null;
  state = { ...state, ...update };
  for (const name of update.gone ?? []) versions.delete(name);
  for (const version of update.versions) versions.set(keyOf(version), version);
  if (chosen !== null && !versions.has(chosen)) choose(null);
  charts.add(state.made_at_s, chosen === null ? state.total : versions.get(chosen));
  if (!document.hidden) draw();
}

function draw() {
  if (!state) return;
  drawHead();
  drawScope();
  table.show(versions, chosen);
  showProcesses(state.processes);
  showInstances(versions);
  showRequests(state.requests);
  showEvents(state.events);
}

function drawHead() {
  const { gateway } = state;
  const tone = lost !== null ? "bad" : gateway.phase === "serving" && !gateway.ready ? "warn" : (PHASES[gateway.phase] ?? "warn");
  show(find("phase-dot"), "", `dot ${tone}`);
  show(find("phase"), lost !== null ? "no connection" : gateway.phase === "serving" && !gateway.ready ? "serving, not ready" : gateway.phase);
  const up = gateway.started_at_s ? `, up ${span(state.made_at_s - gateway.started_at_s)}` : "";
  show(find("where"), `${gateway.address ? `gRPC on ${gateway.address}` : ""}${up}`.replace(/^, /, ""));
  show(find("clock"), `as of ${clock(state.made_at_s)}`);
  show(find("made-by"), `Gateway ${gateway.gateway_version}. Rates and percentiles of the last ${state.window_s} seconds.`);
  document.title = lost !== null ? "No connection \u2013 Gateway" : `${rate(state.total.calls_per_s)} calls/s \u2013 Gateway`;
  document.body.classList.toggle("stale", lost !== null);
  show(find("connection"), lost === null ? "" : `No connection since ${clock(lost / 1000)}. The figures shown are the last received.`, lost === null ? "" : "notice lost");
  showEach(find("notices"), lost === null ? state.notices : [], {
    key: (notice) => notice.text,
    make: (notice) => element("li", `notice ${notice.level}`, notice.text),
    update: () => {},
    empty: () => null,
  });
}

function drawScope() {
  const version = chosen === null ? null : versions.get(chosen);
  show(find("now-title"), version ? `${version.model}, version ${version.version}` : "All models");
  find("everything").hidden = !version;
  const reasons = Object.entries((version ?? state.total).errors_per_s_by_reason).sort((one, other) => other[1] - one[1]);
  const update = reasons.flatMap(([reason, value], at) => [at ? ", " : "Errors by reason: ", word(reason), " ", element("b", "", `${rate(value)}/s`)]);
  find("reasons").replaceChildren(...update);
}

function choose(key) {
  chosen = key === chosen ? null : key;
  charts.begin(null);
  remember();
  draw();
  if (chosen !== null && find("charts").getBoundingClientRect().bottom < 120) find("now-title").scrollIntoView({ block: "start" });
}

// What the gateway remembers of what is charted; what comes while it answers is in its answer or in the next message.
async function remember() {
  const asked = chosen;
  const version = asked === null ? null : versions.get(asked);
  const query = version ? `?${new URLSearchParams({ model: version.model, version: version.version })}` : "";
  try {
    const answer = await fetch(`v2/gateway/history${query}`);
    if (answer.ok && asked === chosen) charts.begin(await answer.json());
  } catch {
    // the stream says that there is no connection
  }
}

function lose() {
  lost ??= receivedAt || Date.now();
  if (state) draw();
  else show(find("connection"), "The gateway does not answer.", "notice lost");
}

find("everything").addEventListener("click", () => choose(null));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  charts.draw();
  draw();
});
setInterval(() => {
  if (receivedAt && lost === null && Date.now() - receivedAt > SILENT_MS) lose();
}, 1000);
choosable();
listen();
