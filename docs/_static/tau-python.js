/* Python on a page: one worker, started when it is first asked for.

     const python = new TauPython({ progress: (text) => ..., });
     await python.run("print(1)", "chapter", { output: (text, stream) => ..., figure: (url, name) => ... });
     const value = await python.call("tau_rnn.explore.view.frame", { gain: 1.2 });
     python.stop();        // whatever runs ends with an error "stopped", and all variables are gone

   What the worker understands stands in tau-worker.js. */

"use strict";
class TauPython {
  static here = new URL(".", document.currentScript.src);

  constructor({ progress = () => {} } = {}) {
    this.progress = progress;
    this.waiting = new Map();
    this.last = 0;
  }

  start() {
    if (!this.ready) {
      this.worker = new Worker(new URL("tau-worker.js", TauPython.here));
      this.worker.onmessage = ({ data }) => this.receive(data);
      this.worker.onerror = (event) => this.fail(event.message);
      this.ready = this.ask("start", { live: new URL("live/", TauPython.here).href });
      this.ready.catch(() => this.stop());
    }
    return this.ready;
  }

  ask(kind, more = {}, heard = {}) {
    const id = ++this.last;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed, heard });
      this.worker.postMessage({ id, kind, ...more });
    });
  }

  receive({ id, kind, value, error, text, stream, name, type, bytes }) {
    const { done, failed, heard } = this.waiting.get(id) ?? {};
    if (kind === "progress") this.progress(text);
    else if (kind === "output") heard?.output?.(text, stream);
    else if (kind === "figure") heard?.figure?.(URL.createObjectURL(new Blob([bytes], { type })), name);
    else if (done) {
      this.waiting.delete(id);
      kind === "done" ? done(value) : failed(new Error(error));
    }
  }

  async run(code, namespace, { label = "<cell>", ...heard } = {}) {
    await this.start();
    return this.ask("run", { code, namespace, label }, heard);
  }

  async call(target, args = {}) {
    await this.start();
    return this.ask("call", { target, args });
  }

  async load(packages) {
    await this.start();
    return this.ask("load", { packages });
  }

  async forget(namespace) {
    if (this.ready) await this.ask("forget", { namespace });
  }

  stop() {
    this.worker?.terminate();
    this.worker = this.ready = undefined;
    this.fail("stopped");
  }

  fail(message) {
    for (const { failed } of this.waiting.values()) failed(new Error(message));
    this.waiting.clear();
  }
}
window.TauPython = TauPython;
