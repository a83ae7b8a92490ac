// This browser's camera: its pictures at their full size, as JPEG, to the server; never more than two unanswered.

import { socketUrl } from "./connection.js";

const WANTED = { width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 30 } };
const JPEG_QUALITY = 0.92;
const MOST_UNANSWERED = 2;
const TICK_MS = 1000 / 30;
const OPEN_MS = 8000;
// How the server says that the run was ended: nothing went wrong.
const GOING_AWAY = 1001;

const PROBLEMS = {
  NotAllowedError: "The browser did not allow the camera. Allow it for this page (the sign beside the address), then press Start again.",
  NotFoundError: "There is no camera on this device. Connect one, then press Start again.",
  NotReadableError: "Another program uses the camera. Close it, then press Start again.",
  OverconstrainedError: "The camera has no picture size that can be used. Try another camera.",
};

export class CameraError extends Error {}

/** Ask for the camera, or say in plain words why there is none. */
async function openCamera() {
  if (!isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    throw new CameraError(
      "A browser gives its camera only to pages opened by https:// or at localhost. Open this page at localhost, or put https in front of it.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: WANTED, audio: false });
  } catch (error) {
    throw new CameraError(PROBLEMS[error.name] ?? `The camera could not be opened (${error.name}). Try another browser.`);
  }
}

function makeCanvas(width, height) {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}

function toJpeg(canvas) {
  if (canvas.convertToBlob) return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

export class Camera {
  /** `onEnd(words)` is called once when a camera that ran has stopped; words are "" where that was wanted. */
  constructor(onEnd) {
    this.onEnd = onEnd;
    this.running = null;
  }

  /** Resolves when pictures flow; rejects with a CameraError in plain words. */
  async start() {
    this.stop();
    const run = { stream: await openCamera(), unanswered: 0, encoding: false, over: false };
    this.running = run;
    try {
      run.video = await play(run.stream);
      run.socket = await this.connect(run);
    } catch (error) {
      this.end(run, null);
      throw error;
    }
    run.stream.getVideoTracks()[0].addEventListener("ended", () => this.end(run, "The camera was disconnected."));
    this.schedule(run);
  }

  stop() {
    if (this.running) this.end(this.running, "");
  }

  connect(run) {
    const { videoWidth: width, videoHeight: height } = run.video;
    const socket = new WebSocket(socketUrl("/camera/ws"));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new CameraError("The server does not take the camera's pictures.")), OPEN_MS);
      socket.onopen = () => {
        clearTimeout(timer);
        socket.send(JSON.stringify({ camera: { width, height } }));
        resolve(socket);
      };
      socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.taken !== undefined) run.unanswered = Math.max(0, run.unanswered - 1);
        if (message.error) run.words = message.error;
      };
      socket.onclose = (event) => {
        clearTimeout(timer);
        reject(new CameraError(run.words ?? "The connection for the camera could not be opened."));
        this.end(run, event.code === GOING_AWAY ? "" : (run.words ?? ""));
      };
    });
  }

  end(run, words) {
    if (run.over) return;
    run.over = true;
    run.stream.getTracks().forEach((track) => track.stop());
    clearInterval(run.timer);
    run.socket?.close();
    if (this.running === run) this.running = null;
    if (words !== null && run.begun) this.onEnd(words);
  }

  schedule(run) {
    run.begun = true;
    // In a tab that is not seen the browser presents no frames; a timer then goes on, slowly.
    run.timer = setInterval(() => (document.hidden || !run.video.requestVideoFrameCallback) && this.take(run), TICK_MS);
    const next = () => {
      if (run.over) return;
      this.take(run);
      run.video.requestVideoFrameCallback(next);
    };
    run.video.requestVideoFrameCallback?.(next);
  }

  async take(run) {
    const { videoWidth: width, videoHeight: height } = run.video;
    if (run.over || run.encoding || run.unanswered >= MOST_UNANSWERED || !width) return;
    run.encoding = true;
    try {
      if (run.canvas?.width !== width || run.canvas?.height !== height) run.canvas = makeCanvas(width, height);
      run.canvas.getContext("2d").drawImage(run.video, 0, 0);
      const jpeg = await toJpeg(run.canvas);
      if (run.over || run.socket.readyState !== WebSocket.OPEN) return;
      run.unanswered += 1;
      run.socket.send(jpeg);
    } finally {
      run.encoding = false;
    }
  }
}

async function play(stream) {
  const video = document.createElement("video");
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  return video;
}
