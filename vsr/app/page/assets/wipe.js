// A divider over two pictures of the same size: left of it the one before, right of it the one after.

import { clamp, element, setText } from "./elements.js";

const STEP = 2;
const LARGE_STEP = 10;
const REST_MS = 400;
const KEYS = {
  ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP,
  PageDown: -LARGE_STEP, PageUp: LARGE_STEP, Home: -100, End: 100,
};

export class Wipe {
  /** `box` holds both pictures; `top` is the one that is cut off at the divider. `onRest` is told when `moving` changes. */
  constructor(box, top, { before = "bicubic", after = "network", onRest = () => {} } = {}) {
    this.onRest = onRest;
    this.box = box;
    this.top = top;
    this.divider = element("div.vsr-divider", {
      role: "slider", tabindex: "0", "aria-label": "Divider between before and after",
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-orientation": "horizontal",
    }, element("span.vsr-grip", { "aria-hidden": "true" }, "‹ ›"));
    this.before = element("span.vsr-tag.vsr-tag-before", {}, before);
    this.after = element("span.vsr-tag.vsr-tag-after", {}, after);
    box.append(this.divider, this.before, this.after);
    this.divider.addEventListener("keydown", (event) => this.onKey(event));
    this.divider.addEventListener("pointerenter", () => this.move());
    this.divider.addEventListener("pointerdown", (event) => this.onDown(event));
    this.divider.addEventListener("pointermove", (event) => this.onMove(event));
    this.set(50);
    this.show(true);
  }

  /** Percent of the width that shows the picture before. */
  set(percent) {
    this.percent = clamp(percent, 0, 100);
    this.box.style.setProperty("--vsr-wipe", `${this.percent}%`);
    const rounded = Math.round(this.percent);
    this.divider.setAttribute("aria-valuenow", rounded);
    this.divider.setAttribute("aria-valuetext", `${rounded} % ${this.before.textContent}`);
    this.move();
  }

  /** It moves, or is about to: both pictures are needed whole until it has come to rest. */
  move() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST_MS);
    if (this.moving) return;
    this.moving = true;
    this.onRest();
  }

  rest() {
    this.moving = false;
    this.onRest();
  }

  show(on) {
    this.shown = on;
    this.box.classList.toggle("vsr-wiped", on);
    this.divider.hidden = this.before.hidden = this.top.hidden = !on;
  }

  name(after) {
    setText(this.after, after);
    this.after.hidden = !after;
  }

  onKey(event) {
    const step = KEYS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.set(this.percent + step);
  }

  onDown(event) {
    this.divider.setPointerCapture(event.pointerId);
    this.move();
    event.preventDefault();
    this.divider.focus();
  }

  onMove(event) {
    if (!this.divider.hasPointerCapture(event.pointerId)) return;
    const { left, width } = this.box.getBoundingClientRect();
    this.set((100 * (event.clientX - left)) / width);
  }
}

/** Two pictures that stand still, in an element that holds both: <div data-vsr-wipe data-after="…"><img><img></div>. */
export function mountStill(root) {
  const [after, before] = root.querySelectorAll("img");
  if (!before) return null;
  before.classList.add("vsr-top");
  return new Wipe(root, before, { after: root.dataset.after });
}
