// The live connection: a WebSocket that comes back by itself, and pictures by MJPEG where none can be opened.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
const PING_MS = 5000;
const SILENCE_MS = 20000;
const POLL_MS = 1000;
const TRY_AGAIN_MS = 30000;
const REFUSALS = 2;

export function socketUrl(path) {
  return new URL(path, location.href.replace(/^http/, "ws")).href;
}

/** Header and JPEGs of a binary message: 4 bytes of length, JSON, then the pictures one behind another. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  for (const part of header.parts) {
    part.jpeg = new Blob([new Uint8Array(buffer, offset, part.bytes)], { type: "image/jpeg" });
    offset += part.bytes;
  }
  return header;
}

/**
 * Events: "state" (detail: the state), "frame" (detail: the unpacked header), "link" (detail: {kind, words}), where kind
 * is "open", "closed" or "still" (no WebSocket; pictures come by MJPEG from `stillUrl()`).
 */
export class LiveConnection extends EventTarget {
  constructor() {
    super();
    this.view = null;
    this.kind = "closed";
    this.refusals = 0;
    this.wait = FIRST_WAIT_MS;
    this.timers = new Set();
    this.open();
  }

  close() {
    this.over = true;
    this.clear();
    this.socket?.close();
  }

  setView(view) {
    this.view = view;
    this.send({ view });
  }

  shown(number) {
    this.send({ shown: number });
  }

  stillUrl() {
    return `/live.mjpeg?width=${this.view?.width ?? 1280}&t=${Date.now()}`;
  }

  open() {
    this.clear();
    const socket = new WebSocket(socketUrl("/live/ws"));
    socket.binaryType = "arraybuffer";
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.refusals = 0;
      this.wait = FIRST_WAIT_MS;
      this.reason = "";
      this.heard = performance.now();
      this.tell("open", "Connected");
      if (this.view) this.send({ view: this.view });
      this.every(PING_MS, () => this.ping());
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => {
      if (this.over || this.socket !== socket) return;
      this.refusals = opened ? 0 : this.refusals + 1;
      this.clear();
      this.lost();
    };
    this.socket = socket;
  }

  receive(data) {
    this.heard = performance.now();
    if (typeof data !== "string") {
      this.emit("frame", unpack(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.state) this.emit("state", message.state);
    if (message.error) this.reason = message.error;
  }

  ping() {
    if (performance.now() - this.heard > SILENCE_MS) this.socket.close();
    else this.send({ ping: Date.now() });
  }

  async lost() {
    if (this.refusals >= REFUSALS && (await this.poll())) {
      this.tell("still", "Connected without WebSocket: plain pictures, no comparison");
      this.every(POLL_MS, async () => {
        if (!(await this.poll())) this.open();
      });
      this.later(TRY_AGAIN_MS, () => this.open());
      return;
    }
    if (this.over) return;
    const wait = this.wait;
    this.wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    this.tell("closed", this.reason ? `The server says: ${this.reason}` : "The connection to the server is lost; trying again");
    this.later(wait, () => this.open());
  }

  /** True when the server answers a plain request. */
  async poll() {
    try {
      const answer = await fetch("/live/state", { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (!answer.ok) return false;
      const body = await answer.json();
      this.emit("state", body.state ?? body);
      return !this.over;
    } catch {
      return false;
    }
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  tell(kind, words) {
    this.kind = kind;
    this.emit("link", { kind, words });
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  every(ms, action) {
    this.timers.add(setInterval(action, ms));
  }

  later(ms, action) {
    this.timers.add(setTimeout(action, ms));
  }

  clear() {
    // One namespace of numbers serves both kinds of timer.
    this.timers.forEach((timer) => clearTimeout(timer));
    this.timers.clear();
  }
}
