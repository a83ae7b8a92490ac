// What is said about a run: the figures, the plot, the recordings, and the state in plain words.

import { element, setText } from "./elements.js";
import { Plot } from "./plot.js";

const FIGURES = [
  ["input", "Input", (f) => rate(f.input_fps)],
  ["output", "Output", (f) => rate(f.output_fps)],
  ["screen", "This screen", (f) => rate(f.screen_fps)],
  ["latency", "Latency p50 / p95", (f) => pair(f.p50_ms, f.p95_ms)],
  ["dropped", "Frames dropped", (f) => count(f.dropped)],
  ["network", "Network in use", (f) => f.network || "–"],
  ["moves", "Network changes", (f) => count(f.moves)],
  ["reconnects", "Reconnects", (f) => count(f.reconnects)],
];

function rate(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)} fps`;
}

function pair(low, high) {
  return low === null || low === undefined ? "–" : `${Math.round(low)} / ${Math.round(high)} ms`;
}

function count(value) {
  return value === null || value === undefined ? "–" : `${value}`;
}

export class Figures {
  constructor(root) {
    this.values = new Map();
    const list = element("dl.vsr-figures");
    for (const [key, title] of FIGURES) {
      const value = element("dd", { "data-figure": key }, "–");
      list.append(element("div", {}, element("dt", {}, title), value));
      this.values.set(key, value);
    }
    const box = element("div.vsr-plotbox");
    root.classList.add("vsr-numbers");
    root.append(list, box);
    this.plot = new Plot(box);
  }

  update(state, screenFps) {
    const running = state.phase === "running";
    const figures = running ? { ...state.figures, screen_fps: screenFps } : {};
    for (const [key, , format] of FIGURES) setText(this.values.get(key), format(figures));
    if (state.phase === "starting") this.plot.clear();
    if (running) this.plot.add({ fps: figures.output_fps, ms: figures.p50_ms });
    else this.plot.draw();
  }
}

/** The list of recordings, in every element that asks for it. */
export function showRecordings(state) {
  const key = JSON.stringify([state.recordings, state.recording]);
  for (const root of document.querySelectorAll("[data-vsr-recordings]")) {
    if (root.dataset.shown === key) continue;
    root.dataset.shown = key;
    root.classList.add("vsr-recordings");
    root.replaceChildren(element("h2", {}, "Recordings"), ...recordingLines(state));
  }
}

function recordingLines(state) {
  const finished = (state.recordings ?? []).filter((one) => one.name !== state.recording?.name);
  const lines = finished.map((one) =>
    element("li", {},
      element("a", { href: one.url, download: one.name }, one.name),
      element("span", {}, bytes(one.bytes))));
  if (state.recording) {
    lines.unshift(element("li.vsr-now", {},
      element("span", {}, state.recording.name),
      element("span", {}, duration(state.recording.seconds))));
  }
  return lines.length ? [element("ul", {}, ...lines)] : [element("p", {}, "None yet. Press Record while a source runs.")];
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Why fewer pictures are seen than are made. */
function limits(state) {
  if (!state.limited_fps) return "";
  const rest = state.viewers > 1 ? ` for each of ${state.viewers} viewers` : ", all that the server can encode";
  return ` · ${rate(state.limited_fps)}${rest}`;
}

/** The state of a run for people: {words, detail, tone}, where tone is "calm", "busy", "good" or "bad". */
export function describe(state) {
  const size = (pair) => (pair ? `${pair[0]}×${pair[1]}` : "");
  const way = state.output_size ? `${size(state.input_size)} → ${size(state.output_size)}` : "";
  switch (state.phase) {
    case "starting":
      return { words: "Starting", detail: state.message || "The network is being made ready.", tone: "busy" };
    case "waiting":
      return { words: "Waiting for the first picture", detail: state.message || state.source, tone: "busy" };
    case "running":
      if (state.figures?.connected === false) {
        return { words: "The source is away", detail: state.message || "Looking for it again.", tone: "busy" };
      }
      return { words: state.source, detail: state.message, tone: "good", note: `${way}${limits(state)}` };
    case "stopping":
      return { words: "Stopping", detail: state.message, tone: "busy" };
    case "failed":
      return { words: "The run has ended with an error", detail: state.message, tone: "bad" };
    default:
      return { words: "Nothing is running", detail: state.message || "Choose a source and press Start.", tone: "calm" };
  }
}
