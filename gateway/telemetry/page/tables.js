// The tables: models and versions, serving processes, and what runs batches for them.

import { breakable, element, emptyRow, find, row, show, showEach } from "./elements.js";
import { bytes, count, milliseconds, percent, rate, size, word } from "./format.js";

const FIRST = 50;
const STATES = { READY: "good", LOADING: "warn", UNLOADING: "warn", UNAVAILABLE: "bad", NOT_LOADED: "quiet" };
const BREAKERS = { closed: "quiet", open: "bad", "half-open": "warn" };
const PROCESSES = { serving: "good", starting: "warn", restarting: "bad" };

export const keyOf = (version) => `${version.model}/${version.version}`;
const unloaded = (version) => version.state === "UNAVAILABLE" && version.reason === "unloaded";
const stateWord = (version) => (unloaded(version) ? "unloaded" : word(version.state));
const stateTone = (version) => (unloaded(version) ? "quiet" : (STATES[version.state] ?? "quiet"));
const broken = (version) => version.instances.filter((each) => !each.available || each.breaker === "open").length;

function breakerWord(version) {
  if (version.breaker_forced) return `forced ${version.breaker_forced}`;
  return version.breaker || "\u2013";
}

// An open circuit breaker stays open until the next call, however long it has been.
function openHow(version) {
  const { breaker_to_try_processes: some, breaker_open_processes: open, breaker_processes: all } = version;
  const where = open < all && open ? `in ${open} of ${all} processes` : "";
  const tries = !some ? "" : some === open ? "next request tries" : `next request tries in ${some}`;
  return [where, tries].filter(Boolean).join(", ");
}

// What a narrow table has no column for; only what is not as it should be.
function troubles(version) {
  const parts = version.state === "READY" ? [] : [stateWord(version)];
  if (version.breaker && version.breaker !== "closed") parts.push(`breaker ${breakerWord(version)} ${openHow(version)}`.trim());
  else if (version.breaker_forced) parts.push(`breaker ${breakerWord(version)}`);
  if (broken(version)) parts.push(`${broken(version)} of ${version.instances.length} instances away`);
  return parts.join(", ");
}

// Of those without calls, the ones that are not as they should be come first.
const trouble = (version) => (STATES[version.state] === "bad" || STATES[version.state] === "warn") && !unloaded(version) ? 2 : Number(version.state === "READY");
const busier = (one, other) => other.calls_per_s - one.calls_per_s || other.queued - one.queued || trouble(other) - trouble(one) || (keyOf(one) < keyOf(other) ? -1 : 1);

export class ModelsTable {
  constructor(choose) {
    this.choose = choose;
    this.chosen = null;
    this.all = false;
    this.order = [];
    this.ordered = 0;
    this.versions = new Map();
    this.body = find("versions");
    find("filter").addEventListener("input", () => this.draw(true));
    find("more").addEventListener("click", () => {
      this.all = !this.all;
      this.draw(true);
    });
  }

  show(versions, chosen) {
    this.versions = versions;
    this.chosen = chosen;
    this.draw(false);
  }

  draw(now) {
    this.sort(now);
    const filter = find("filter").value.trim().toLowerCase();
    const found = this.order.map((key) => this.versions.get(key)).filter((version) => version && matches(version, filter));
    const shown = this.all ? found : found.slice(0, FIRST);
    showEach(this.body, shown, {
      key: keyOf,
      make: (version) => this.make(version),
      update: (node, version) => this.update(node, version),
      empty: () => emptyRow(this.versions.size ? "No model is called so." : "There are no models in the repository.", 12),
    });
    const some = shown.length < found.length ? `the ${shown.length} busiest of ${count(found.length)}` : `${count(found.length)} ${found.length === 1 ? "version" : "versions"}`;
    show(find("models-count"), some);
    find("more").hidden = found.length <= FIRST;
    show(find("more"), this.all ? `Show the ${FIRST} busiest` : `Show all ${count(found.length)}`);
  }

  // Rows that move every second cannot be read: the order holds for five, and while somebody points at it.
  sort(now) {
    const unknown = this.order.length !== this.versions.size || this.order.some((key) => !this.versions.has(key));
    if (!now && !unknown && (Date.now() - this.ordered < 5000 || this.body.matches(":hover, :focus-within"))) return;
    this.order = [...this.versions.values()].sort(busier).map(keyOf);
    this.ordered = Date.now();
  }

  make(version) {
    const made = row(["", "wide", "number", "number", "number wide", "number wide roomy", "number", "number wide roomy", "number wide", "number wide", "number wide roomy", "wide"]);
    const [name, state, , , , , , , , , , breaker] = made.cells_;
    made.button = element("button");
    made.button.type = "button";
    made.button.append(...breakable(version.model));
    made.button.addEventListener("click", () => this.choose(keyOf(version)));
    made.flags = element("span", "note narrow");
    name.append(made.button, " ", element("span", "version", version.version), made.flags);
    made.state = element("span", "word");
    made.reason = element("span", "note");
    state.append(made.state, made.reason);
    made.breaker = element("span", "word");
    made.away = element("span", "note");
    breaker.append(made.breaker, made.away);
    return made;
  }

  update(node, version) {
    const chosen = keyOf(version) === this.chosen;
    if (node.classList.contains("chosen") !== chosen) node.classList.toggle("chosen", chosen);
    node.button.setAttribute("aria-pressed", String(chosen));
    show(node.flags, [troubles(version), version.queued && `${count(version.queued)} waiting`].filter(Boolean).join(", "));
    show(node.state, stateWord(version), `word ${stateTone(version)}`);
    show(node.reason, unloaded(version) ? "" : version.reason);
    const [, , calls, errors, p50, p90, p99, queue, batch, waiting, inFlight] = node.cells_;
    show(calls, rate(version.calls_per_s), `number ${version.calls_per_s ? "" : "nothing"}`);
    show(errors, rate(version.errors_per_s), `number ${version.errors_per_s ? "loud" : "nothing"}`);
    show(p50, milliseconds(version.latency_p50_ms));
    show(p90, milliseconds(version.latency_p90_ms));
    show(p99, milliseconds(version.latency_p99_ms));
    show(queue, milliseconds(version.queue_p90_ms));
    show(batch, size(version.rows_per_batch));
    show(waiting, count(version.queued), `number wide ${version.queued ? "" : "nothing"}`);
    show(inFlight, count(version.in_flight));
    show(node.breaker, breakerWord(version), version.breaker ? `word ${BREAKERS[version.breaker] ?? "quiet"}` : "nothing");
    const away = broken(version);
    show(node.away, [openHow(version), away && `${away} of ${version.instances.length} instances away`].filter(Boolean).join(", "));
  }
}

const matches = (version, filter) => !filter || `${keyOf(version)} ${stateWord(version)} ${troubles(version)}`.toLowerCase().includes(filter);

export function showProcesses(processes) {
  showEach(find("processes"), processes, {
    key: (process) => process.process,
    make: () => {
      const made = row(["", "", "number", "number", "number wide", "number", "number wide"]);
      made.number = element("span");
      made.pid = element("span", "version");
      made.cells_[0].append(made.number, " ", made.pid);
      made.state = element("span", "word");
      made.reason = element("span", "note");
      made.cells_[1].append(made.state, made.reason);
      return made;
    },
    update: (node, process) => {
      const [, , cpu, memory, lag, inFlight, restarts] = node.cells_;
      const silent = process.state === "serving" && !process.speaks;
      show(node.number, String(process.process));
      show(node.pid, process.pid ? `pid ${process.pid}` : "");
      show(node.state, silent ? "silent" : process.state, `word ${silent ? "warn" : (PROCESSES[process.state] ?? "quiet")}`);
      show(node.reason, process.last_end ? `before: ${process.last_end}` : "");
      show(cpu, percent(process.cpu_percent));
      show(memory, bytes(process.memory_bytes));
      show(lag, milliseconds(process.loop_lag_ms));
      show(inFlight, count(process.in_flight));
      show(restarts, count(process.restarts));
    },
    empty: () => emptyRow("No process has been started yet.", 7),
  });
}

export function showInstances(versions) {
  const all = [...versions.values()].flatMap((version) => version.instances.map((each) => ({ ...each, version })));
  const wrong = (each) => Number(!each.available || each.breaker === "open");
  all.sort((one, other) => wrong(other) - wrong(one) || other.running_batches - one.running_batches);
  find("instances-section").hidden = !all.length;
  show(find("instances-count"), all.length > FIRST ? `${FIRST} of ${count(all.length)}` : "");
  showEach(find("instances"), all.slice(0, FIRST), {
    key: (each) => `${keyOf(each.version)} ${each.process} ${each.name}`,
    make: (each) => {
      const made = row(["", "", "number wide", "", "number", "wide"]);
      made.cells_[1].append(element("span", "", each.version.model), " ", element("span", "version", each.version.version));
      made.state = element("span", "word");
      made.breaker = element("span", "word");
      made.cells_[3].append(made.state);
      made.tries = element("span", "note");
      made.cells_[5].append(made.breaker, made.tries);
      return made;
    },
    update: (node, each) => {
      show(node.cells_[0], each.name);
      show(node.cells_[2], String(each.process));
      show(node.state, each.available ? "available" : "away", `word ${each.available ? "good" : "bad"}`);
      show(node.cells_[4], count(each.running_batches));
      show(node.breaker, each.breaker || "\u2013", each.breaker ? `word ${BREAKERS[each.breaker] ?? "quiet"}` : "nothing");
      show(node.tries, each.breaker_to_try ? "next batch tries" : "");
    },
    empty: () => emptyRow("", 6),
  });
}
