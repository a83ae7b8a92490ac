// A loupe: a part of both pictures with one sample of the output on one pixel of the screen (or on 2×2, or 4×4).

import { clamp, element, setText } from "./elements.js";

const ZOOMS = [1, 2, 4];
const STEP = 0.02;
const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Loupe {
  /** `picture` is the box with the moving picture, `dock` where the loupe lies, `onChange` is told of a new view. */
  constructor(picture, dock, onChange) {
    this.picture = picture;
    this.onChange = onChange;
    this.place = { x: 0.5, y: 0.5 };
    this.zoom = ZOOMS[0];
    this.size = [1280, 720];
    this.before = this.pane("bicubic");
    this.after = this.pane("network");
    this.button = element("button.vsr-zoom", { type: "button", title: "Change the enlargement" });
    this.button.addEventListener("click", () => this.cycle());
    this.panel = element("div.vsr-loupe", { role: "group", "aria-label": "Loupe" },
      this.before.box, this.after.box, this.button);
    this.target = element("div.vsr-target", {
      tabindex: "0", role: "application", "aria-label": "Place of the loupe; arrow keys move it",
    });
    picture.append(this.target);
    dock.append(this.panel);
    this.target.addEventListener("keydown", (event) => this.onKey(event));
    for (const name of ["pointermove", "pointerdown"]) {
      picture.addEventListener(name, (event) => this.onPointer(event));
    }
    new ResizeObserver(() => this.shown && this.changed()).observe(this.panel);
    this.label();
    this.show(false);
  }

  pane(name) {
    const canvas = element("canvas", { width: 1, height: 1 });
    const title = element("span.vsr-tag", {}, name);
    return { canvas, title, box: element("div.vsr-pane", {}, canvas, title) };
  }

  show(on) {
    this.shown = on;
    this.panel.hidden = this.target.hidden = !on;
    this.picture.classList.toggle("vsr-aiming", on);
    this.changed();
  }

  name(network) {
    setText(this.after.title, network || "network");
  }

  /** What to ask of the server: the part in samples of the output, or null. */
  view() {
    if (!this.shown) return null;
    const { width, height } = this.after.box.getBoundingClientRect();
    const samples = (length) => Math.max(16, Math.round((length * devicePixelRatio) / this.zoom));
    return { ...this.place, width: samples(width), height: samples(height) };
  }

  /** Draw what came; sizes are those of the pictures, which end at the border of the frame. */
  draw(images, frameSize) {
    this.size = frameSize;
    for (const [kind, pane] of [["loupe_before", this.before], ["loupe_after", this.after]]) {
      const image = images.get(kind);
      if (!image || !this.shown) continue;
      const { canvas } = pane;
      if (canvas.width !== image.width || canvas.height !== image.height) {
        [canvas.width, canvas.height] = [image.width, image.height];
      }
      canvas.style.width = `${(image.width * this.zoom) / devicePixelRatio}px`;
      canvas.style.height = `${(image.height * this.zoom) / devicePixelRatio}px`;
      canvas.getContext("2d").drawImage(image, 0, 0);
    }
    this.frame();
  }

  cycle() {
    this.zoom = ZOOMS[(ZOOMS.indexOf(this.zoom) + 1) % ZOOMS.length];
    this.label();
    this.changed();
  }

  label() {
    setText(this.button, `${this.zoom}:1`);
    this.button.setAttribute("aria-label", `Enlargement ${this.zoom} to 1; press to change`);
  }

  onKey(event) {
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    this.move(this.place.x + step[0], this.place.y + step[1]);
  }

  onPointer(event) {
    if (!this.shown || event.target.closest(".vsr-divider, .vsr-loupe")) return;
    if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
    const box = this.picture.getBoundingClientRect();
    this.move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  move(x, y) {
    this.place = { x: clamp(x, 0, 1), y: clamp(y, 0, 1) };
    // The loupe lies on the side where it does not cover what it shows.
    this.panel.classList.toggle("vsr-loupe-top", this.place.y > 0.5);
    this.changed();
  }

  changed() {
    this.frame();
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.onChange();
    });
  }

  /** The outline of the part that is shown. */
  frame() {
    const view = this.view();
    if (!view) return;
    const [width, height] = this.size;
    const share = [Math.min(1, view.width / width), Math.min(1, view.height / height)];
    const left = clamp(view.x - share[0] / 2, 0, 1 - share[0]);
    const top = clamp(view.y - share[1] / 2, 0, 1 - share[1]);
    Object.assign(this.target.style, {
      left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * share[0]}%`, height: `${100 * share[1]}%`,
    });
  }
}
