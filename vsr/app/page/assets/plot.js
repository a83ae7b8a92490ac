// The last minute of two figures, drawn by hand: frames per second on the left scale, latency on the right one.

import { element, style } from "./elements.js";

const SPAN_MS = 60000;
const PAD = { left: 30, right: 40, top: 10, bottom: 18 };

export class Plot {
  constructor(root) {
    this.points = [];
    this.canvas = element("canvas.vsr-plot", {
      role: "img", "aria-label": "Frames per second and latency of the last 60 seconds",
    });
    root.append(
      element("div.vsr-legend", { "aria-hidden": "true" },
        element("span.vsr-key-fps", {}, "frames per second"), element("span.vsr-key-ms", {}, "latency p50, ms"),
        element("span.vsr-span", {}, "last 60 s")),
      this.canvas,
    );
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  add({ fps, ms }) {
    const now = performance.now();
    this.points.push({ time: now, fps, ms });
    this.points = this.points.filter((point) => now - point.time < SPAN_MS + 2000);
    this.draw();
  }

  clear() {
    this.points = [];
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "11px system-ui, sans-serif";
    const scales = { fps: top(this.points, "fps", 10), ms: top(this.points, "ms", 20) };
    this.grid(context, width, height, scales);
    for (const name of ["fps", "ms"]) this.line(context, width, height, name, scales[name]);
  }

  grid(context, width, height, scales) {
    context.strokeStyle = style("--vsr-line");
    context.fillStyle = style("--vsr-quiet");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(PAD.top + (height - PAD.top - PAD.bottom) * (1 - part)) + 0.5;
      context.beginPath();
      context.moveTo(PAD.left, y);
      context.lineTo(width - PAD.right, y);
      context.stroke();
      context.textAlign = "right";
      context.fillText(short(scales.fps * part), PAD.left - 6, y);
      context.textAlign = "left";
      context.fillText(short(scales.ms * part), width - PAD.right + 6, y);
    }
  }

  line(context, width, height, name, scale) {
    const now = performance.now();
    const inner = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
    context.strokeStyle = style(name === "fps" ? "--vsr-fps" : "--vsr-ms");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.save();
    context.beginPath();
    context.rect(PAD.left, 0, inner[0], height);
    context.clip();
    context.beginPath();
    let drawing = false;
    for (const point of this.points) {
      const value = point[name];
      if (value === null || value === undefined) {
        drawing = false;
        continue;
      }
      const x = PAD.left + inner[0] * (1 - (now - point.time) / SPAN_MS);
      const y = PAD.top + inner[1] * (1 - value / scale);
      if (drawing) context.lineTo(x, y);
      else context.moveTo(x, y);
      drawing = true;
    }
    context.stroke();
    context.restore();
  }
}

/** A round number at or above all values. */
function top(points, name, least) {
  const highest = Math.max(least, ...points.map((point) => point[name] ?? 0));
  const unit = 10 ** Math.floor(Math.log10(highest));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * unit).find((round) => round >= highest * 0.999);
}

function short(value) {
  return value >= 100 || Number.isInteger(value) ? `${Math.round(value)}` : value.toFixed(1);
}
