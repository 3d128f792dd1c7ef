// Numbers, times and words as people read them.

const NOTHING = "\u2013";
const grouped = [0, 1, 2].map((digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const thin = (text) => text.replaceAll(",", "\u202f");

export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  return thin(grouped[value < 1 ? 2 : value < 100 ? 1 : 0].format(value));
}

// For axes: no more digits than it takes.
export const short = (value) => thin(Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 3 }));

export const size = (value) => (value === null || value === undefined ? NOTHING : thin(grouped[value < 100 ? 1 : 0].format(value)));

export const count = (value) => (value === null || value === undefined ? NOTHING : thin(grouped[0].format(value)));

export function milliseconds(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value < 0.005) return value > 0 ? "<0.01 ms" : "0 ms";
  if (value >= 9999.5) return ">10 s"; // the last bucket has no bound
  if (value >= 999.5) return `${(value / 1000).toFixed(1)} s`;
  return `${grouped[value < 9.995 ? 2 : value < 99.95 ? 1 : 0].format(value)} ms`;
}

export function took(value) {
  return value >= 9999.5 ? `${thin(grouped[1].format(value / 1000))} s` : milliseconds(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  const step = value >= 2 ** 30 ? 3 : value >= 2 ** 20 ? 2 : value >= 2 ** 10 ? 1 : 0;
  return `${grouped[step === 3 ? 1 : 0].format(value / 1024 ** step)} ${["B", "KiB", "MiB", "GiB"][step]}`;
}

export const percent = (value) => (value === null || value === undefined ? NOTHING : `${grouped[0].format(value)}\u202f%`);

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

// With its day where that is not clear.
export function moment(seconds) {
  if (Date.now() / 1000 - seconds < 72000) return clock(seconds);
  return new Date(seconds * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

export function span(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const word = (text) => text.toLowerCase().replaceAll("_", " ");
