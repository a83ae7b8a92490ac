// The player: a stage with the moving picture, a divider, a loupe, and what is to be said about the run.

import { Camera, CameraError } from "./camera.js";
import { LiveConnection } from "./connection.js";
import { element, icon, setText } from "./elements.js";
import { Loupe } from "./loupe.js";
import { describe, Figures, showRecordings } from "./panel.js";
import { mountStill, Wipe } from "./wipe.js";

const SETTLE_MS = 150;
const RATE_SPAN_MS = 2000;
const RELOAD_MS = 1000;
const SYNC_AGAIN_MS = 1500;
const UNDER_WAY = ["starting", "waiting", "running"];

class Player {
  constructor(root) {
    this.root = root;
    this.state = { phase: "idle" };
    this.problem = "";
    this.link = { kind: "closed", words: "Connecting" };
    this.times = [];
    this.chain = Promise.resolve();
    this.build();
    this.connection = new LiveConnection();
    this.connection.addEventListener("state", (event) => this.onState(event.detail));
    this.connection.addEventListener("frame", (event) => this.onFrame(event.detail));
    this.connection.addEventListener("link", (event) => this.onLink(event.detail));
    this.resized = new ResizeObserver(() => this.settle());
    this.resized.observe(this.stage);
    this.settle();
    this.render();
  }

  build() {
    this.after = element("canvas.vsr-canvas", { width: 1280, height: 720, role: "img", "aria-label": "Enlarged video" });
    this.before = element("canvas.vsr-canvas.vsr-top", { width: 1280, height: 720, "aria-hidden": "true" });
    this.still = element("img.vsr-canvas", { alt: "Enlarged video", hidden: true });
    this.still.addEventListener("error", () => setTimeout(() => this.reloadStill(), RELOAD_MS));
    this.picture = element("div.vsr-picture", {}, this.after, this.still, this.before);
    this.title = element("strong");
    this.detail = element("span");
    this.empty = element("div.vsr-empty", { "aria-hidden": "true" }, this.title, this.detail);
    this.stage = element("div.vsr-stage", {}, this.picture, this.empty);
    this.screen = element("div.vsr-screen", {}, this.stage);
    this.wipe = new Wipe(this.picture, this.before, { after: "", onRest: () => this.sendView() });
    this.loupe = new Loupe(this.picture, this.screen, () => this.sendView());
    const bar = this.bar();
    this.screen.append(bar);
    // Its words may need a second line; the loupe stays above it.
    this.observer = new ResizeObserver(() => this.screen.style.setProperty("--vsr-bar", `${bar.offsetHeight}px`));
    this.observer.observe(bar);
    this.root.replaceChildren(this.screen);
    this.figures = new Figures(document.querySelector("[data-vsr-figures]") ?? this.root);
    this.root.classList.add("vsr-player");
    this.wipe.show(true);
  }

  bar() {
    this.seen = element("span");
    this.unseen = element("span.vsr-unseen");
    this.words = element("p.vsr-words", { role: "status", "aria-live": "polite" }, this.seen, this.unseen);
    this.note = element("span.vsr-note");
    this.live = element("span.vsr-link", { title: "Connection of this page to the server" });
    const compare = this.toggle("compare", "Compare", true, (on) => this.compare(on));
    const loupe = this.toggle("loupe", "Loupe", false, (on) => this.loupe.show(on));
    const full = element("button.vsr-tool", { type: "button" }, icon("full"), element("span", {}, "Fullscreen"));
    full.hidden = !document.fullscreenEnabled;
    full.addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.screen.requestFullscreen();
    });
    this.tools = [compare, loupe];
    return element("div.vsr-bar", {},
      element("div.vsr-said", {}, this.words, this.note, this.live),
      element("div.vsr-tools", {}, compare, loupe, full));
  }

  toggle(name, label, on, action) {
    const button = element("button.vsr-tool", { type: "button", "aria-pressed": `${on}`, "data-tool": name },
      icon(name), element("span", {}, label));
    button.addEventListener("click", () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", `${now}`);
      action(now);
    });
    return button;
  }

  compare(on) {
    this.wipe.show(on);
    this.sendView();
  }

  close() {
    this.connection.close();
    this.observer.disconnect();
    this.resized.disconnect();
  }

  /** Ask for pictures as large as they are seen, once the size has come to rest. */
  settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.sendView(), SETTLE_MS);
  }

  sendView() {
    if (!this.connection) return;
    const width = Math.ceil(this.picture.getBoundingClientRect().width * devicePixelRatio);
    // What the divider hides is sent only while it moves.
    const divider = this.wipe.moving ? null : Math.round(this.wipe.percent) / 100;
    const view = { width, compare: this.wipe.shown, divider, loupe: this.loupe.view() };
    const key = JSON.stringify(view);
    if (key === this.viewKey) return;
    this.viewKey = key;
    this.connection.setView(view);
  }

  onFrame(header) {
    // Pictures are decoded beside one another, and drawn in their order.
    const images = Promise.all(header.parts.map((part) => createImageBitmap(part.jpeg)));
    images.catch(() => {});
    this.chain = this.chain
      .then(async () => this.draw(header, await images))
      .catch(() => {})
      .then(() => this.acknowledge(header.number));
  }

  draw(header, list) {
    const images = new Map(header.parts.map((part, index) => [part.kind, list[index]]));
    const fresh = [this.after.width, this.after.height].some((side, index) => side !== header.canvas[index]);
    for (const part of header.parts) {
      const canvas = { after: this.after, before: this.before }[part.kind];
      if (canvas) paint(canvas, images.get(part.kind), { left: part.left, size: header.canvas });
    }
    // A canvas that is new has nothing yet where the divider may go.
    if (fresh) this.wipe.move();
    this.before.classList.toggle("vsr-absent", !images.has("before"));
    this.loupe.draw(images, header.size);
    list.forEach((image) => image.close());
    this.shape(header.size);
    this.wipe.name(header.network);
    this.loupe.name(header.network);
    this.arrived();
  }

  /** In a tab that is not seen nothing is acknowledged, so the server sends nothing until it is seen again. */
  acknowledge(number) {
    if (!document.hidden) this.connection.shown(number);
    else document.addEventListener("visibilitychange", () => this.connection.shown(number), { once: true });
  }

  arrived() {
    const now = performance.now();
    this.times = this.times.filter((time) => now - time < RATE_SPAN_MS);
    this.times.push(now);
    if (this.pictured) return;
    this.pictured = true;
    this.render();
  }

  shape(size) {
    if (size?.[0] > 0 && size[1] > 0) this.stage.style.setProperty("--vsr-ratio", `${size[0] / size[1]}`);
  }

  onState(state) {
    const begins = ["starting", "waiting"].includes(state.phase);
    if (begins && this.state.phase !== state.phase) this.pictured = false;
    if (begins && this.state.phase === "idle") this.problem = "";
    this.state = state;
    this.shape(state.output_size);
    if (this.link.kind === "still") this.pictured = state.phase === "running";
    showRecordings(state);
    this.figures.update(state, (this.times.length * 1000) / RATE_SPAN_MS);
    if (performance.now() - (this.times.at(-1) ?? 0) > RATE_SPAN_MS) this.times = [];
    this.render();
    this.synchronise();
  }

  /** Controls that others own are told that the run has changed, whoever changed it. */
  synchronise() {
    const { phase, source, model, scale, quality, recording } = this.state;
    const key = JSON.stringify([phase, source, model, scale, quality, Boolean(recording)]);
    // What they were told may be overtaken by an older answer: then they are told again.
    const stop = document.querySelector("#vsr-stop");
    const agreed = !stop || stop.disabled !== UNDER_WAY.includes(phase);
    if (key === this.syncKey && (agreed || performance.now() - this.syncTime < SYNC_AGAIN_MS)) return;
    this.syncKey = key;
    this.syncTime = performance.now();
    document.querySelector("#vsr-sync")?.click();
  }

  onLink(link) {
    this.link = link;
    const still = link.kind === "still";
    if (still !== !this.still.hidden) {
      this.still.hidden = !still;
      this.after.hidden = still;
      this.wipe.show(!still && this.tools[0].getAttribute("aria-pressed") === "true");
      if (still) this.reloadStill();
      else this.still.removeAttribute("src");
    }
    this.tools.forEach((tool) => (tool.disabled = still));
    this.viewKey = undefined;
    this.render();
    if (link.kind === "open") this.sendView();
  }

  reloadStill() {
    if (!this.still.hidden) this.still.src = this.connection.stillUrl();
  }

  fail(words) {
    this.problem = words;
    this.render();
  }

  render() {
    const said = this.saying();
    setText(this.title, said.words ?? "");
    setText(this.detail, said.detail ?? "");
    setText(this.seen, said.words ?? "");
    setText(this.unseen, said.detail ? `. ${said.detail}` : "");
    setText(this.note, said.note ?? "");
    setText(this.live, this.link.kind === "open" ? "Connected" : this.link.kind === "still" ? "Plain pictures" : "Not connected");
    this.root.dataset.tone = said.tone;
    this.root.dataset.link = this.link.kind;
    this.root.dataset.phase = this.state.phase;
    this.empty.hidden = said.tone === "good" && this.pictured;
    this.picture.classList.toggle("vsr-dim", !this.empty.hidden && Boolean(this.pictured));
    this.picture.classList.toggle("vsr-blank", !this.pictured);
  }

  saying() {
    if (this.problem) return { words: "The camera cannot be used", detail: this.problem, tone: "bad" };
    if (this.link.kind === "closed") return { words: this.link.words, detail: "", tone: "busy" };
    return describe(this.state);
  }
}

function paint(canvas, image, { left, size }) {
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  canvas.getContext("2d", { alpha: false }).drawImage(image, left, 0);
}

const players = new Map();

const camera = new Camera((words) => {
  if (words) players.forEach((player) => player.fail(words));
});

/** Called by the page once a run has begun: the camera of this browser is its source only if that was chosen. */
async function begin(source) {
  players.forEach((player) => player.fail(""));
  if (source !== "browser") return camera.stop();
  try {
    await camera.start();
  } catch (error) {
    const words = error instanceof CameraError ? error.message : `The camera does not start: ${error.message}`;
    players.forEach((player) => player.fail(words));
    document.querySelector("#vsr-end")?.click();
  }
  return undefined;
}

function mount() {
  for (const [root, player] of players) {
    if (root.isConnected) continue;
    player.close();
    players.delete(root);
  }
  for (const root of document.querySelectorAll("[data-vsr-player]")) {
    if (!players.has(root)) players.set(root, new Player(root));
  }
  for (const root of document.querySelectorAll("[data-vsr-wipe]:not(.vsr-mounted)")) {
    root.classList.add("vsr-mounted");
    mountStill(root);
  }
}

window.vsr = { begin, players: () => [...players.values()] };
new MutationObserver(mount).observe(document.documentElement, { childList: true, subtree: true });
mount();
