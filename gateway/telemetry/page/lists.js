// Recent requests and recent events.

import { element, find, showEach } from "./elements.js";
import { moment, took, word } from "./format.js";

const TONES = { failed: "bad", degraded: "warn", slow: "quiet" };
const EVENT_TONES = { open: "bad", "half-open": "warn", UNAVAILABLE: "bad", GONE: "quiet", restarting: "bad", draining: "warn", stopping: "warn", closed: "good", READY: "good", serving: "good" };

let kind = "";
let requests = [];

export function showRequests(latest) {
  requests = latest;
  drawRequests();
}

export function choosable() {
  find("kinds").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    kind = button.dataset.kind;
    for (const each of find("kinds").children) each.setAttribute("aria-pressed", String(each === button));
    drawRequests();
  });
}

function drawRequests() {
  const shown = folded(requests.filter((request) => !kind || request.kind === kind));
  showEach(find("requests"), shown, {
    key: (request) => `${request.trace_id} ${request.at_s} ${request.alike}`,
    make: requestItem,
    update: () => {},
    empty: () => element("li", "empty", kind ? `No ${kind} request is remembered.` : "Nothing has failed, nothing was degraded, nothing was slow."),
  });
}

// Failures with the same words become the newest of them, with their number.
function folded(latest) {
  const groups = new Map();
  for (const request of latest) {
    const words = [request.kind, request.reason, request.model, request.version, request.error, request.served_by];
    const group = request.kind === "slow" ? `${request.trace_id} ${request.at_s}` : JSON.stringify(words);
    const known = groups.get(group);
    if (known) known.alike += 1;
    else groups.set(group, { ...request, alike: 1 });
  }
  return [...groups.values()];
}

function requestItem(request) {
  const made = element("li");
  const title = request.kind === "slow" ? "slow" : request.kind === "degraded" ? "degraded" : word(request.reason);
  const trace = element("span", "trace");
  if (/^https?:\/\//.test(request.trace_url)) {
    const link = element("a", "", "Trace");
    link.href = request.trace_url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.setAttribute("aria-label", `Trace ${request.trace_id}`);
    trace.append(link);
  }
  made.append(timeOf(request.at_s), element("span", `word ${TONES[request.kind]}`, title), who(request.model, request.version), textOf(request), element("span", "took", took(request.took_ms)), trace);
  return made;
}

function textOf(request) {
  const made = element("span", "text");
  const served = request.served_by ? `Answered by ${request.served_by}${request.reason ? `, because of ${word(request.reason)}` : ""}.` : "";
  const retried = request.retries ? `run again ${request.retries === 1 ? "once" : `${request.retries} times`}` : "";
  made.append({ failed: request.error || request.status, degraded: served, slow: "Among the slowest of its model." }[request.kind]);
  const from = [retried, request.request_id && `request ${request.request_id}`, request.peer && `from ${request.peer}`, !request.trace_url && `trace ${request.trace_id}`].filter(Boolean).join(", ");
  if (from) made.append(" ", element("span", "from", from));
  if (request.alike > 1) made.append(" ", element("span", "alike", `and ${request.alike - 1} more of late`));
  return made;
}

export function showEvents(events) {
  let at = 0;
  const seen = new Map();
  const keyed = events.toReversed().map((event) => {
    const key = `${event.at_s} ${event.what} ${event.process} ${event.model} ${event.version} ${event.instance} ${event.state}`;
    at = seen.get(key) ?? 0;
    seen.set(key, at + 1);
    return { ...event, key: `${key} ${at}` };
  });
  showEach(find("events"), keyed.toReversed(), {
    key: (event) => event.key,
    make: eventItem,
    update: () => {},
    empty: () => element("li", "empty", "Nothing lately."),
  });
}

function eventItem(event) {
  const made = element("li");
  const name = event.what === "breaker" ? `breaker ${event.state}` : `${event.what} ${word(event.state)}`.trim();
  const text = element("span", "text", event.text);
  const from = [event.instance, event.process !== null && `process ${event.process}`].filter(Boolean).join(", ");
  if (from) text.append(" ", element("span", "from", from));
  made.append(timeOf(event.at_s), element("span", `word ${EVENT_TONES[event.state] ?? "quiet"}`, name), who(event.model, event.version), text);
  return made;
}

function timeOf(atSeconds) {
  const made = element("time", "", moment(atSeconds));
  made.dateTime = new Date(atSeconds * 1000).toISOString();
  return made;
}

function who(model, version) {
  const made = element("span", "who", model);
  if (version) made.append(" ", element("span", "version", version));
  return made;
}
