/* Live cells: every Python block of a chapter can be edited and run on the page.

   The page is complete without this file. A block's <pre> becomes editable in place; below it come
   its buttons and what it prints and draws. All blocks of a page share one namespace. Nothing is
   loaded before a reader runs something. */

"use strict";
const PAGE = document.title;
const SIZE = "17 MB";
const MORE = "SciPy (20 MB) and Matplotlib (10 MB) follow when a block needs them";

/** An element with attributes, properties that are functions, and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made[name] = value;
    else if (value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const button = (text, onclick, more = {}) => element("button", { type: "button", onclick, ...more }, text);

// The bar at the foot of the window: what Python is doing, how long, and how to stop it

const bar = {
  text: element("span", { role: "status" }),
  clock: element("span", { class: "tau-clock" }),
  since: 0,
  show(text) {
    this.text.textContent = text;
    this.root.hidden = false;
  },
  begin() {
    this.since = performance.now();
    this.stop.disabled = false;
    this.timer ??= setInterval(() => {
      this.clock.textContent = `${Math.round((performance.now() - this.since) / 1000)} s`;
    }, 500);
  },
  end(text) {
    clearInterval(this.timer);
    this.timer = undefined;
    this.clock.textContent = "";
    this.stop.disabled = true;
    this.show(text);
  },
};
const python = new TauPython({ progress: (text) => bar.show(`Python: ${text}`) });
bar.stop = button("Stop", () => {
  python.stop();
  for (const cell of cells) cell.ran = undefined;
});
bar.reset = button("Reset page", reset, { title: "the blocks as in the book, all variables gone" });
bar.root = element("div", { class: "tau-bar", hidden: "" }, bar.text, bar.clock, bar.stop, bar.reset);

/** Do something with Python, one thing at a time; the bar says how it goes. */
let busy = false;
async function working(task) {
  if (busy) return bar.show("Python: busy; wait, or stop it");
  busy = true;
  document.body.dataset.tau = "busy";
  bar.begin();
  try {
    await task();
    bar.end("Python: ready");
  } catch (error) {
    bar.end(error.message === "stopped" ? "Python: stopped; all variables are gone" : "Python: error, see the block");
  }
  busy = false;
  document.body.dataset.tau = "done";
}

// Cells

/** The text of an editable <pre>; a line that was typed or pasted may end in a <br>. */
const textOf = (pre) => pre.innerText.replaceAll("\u00a0", " ");

function editable(pre, label) {
  pre.contentEditable = "plaintext-only";
  if (pre.contentEditable !== "plaintext-only") pre.contentEditable = "true";
  for (const [name, value] of Object.entries({
    spellcheck: "false", role: "textbox", "aria-multiline": "true", "aria-label": label, tabindex: "0",
  })) pre.setAttribute(name, value);
}

/** Enter keeps the indentation, and adds to it after a colon. */
function indent(event, pre) {
  const before = document.createRange();
  const { anchorNode, anchorOffset } = getSelection();
  before.setStart(pre, 0);
  before.setEnd(anchorNode, anchorOffset);
  const line = before.toString().split("\n").pop();
  event.preventDefault();
  document.execCommand("insertText", false, "\n" + line.match(/^ */)[0] + (/:\s*$/.test(line) ? "    " : ""));
}

class Cell {
  constructor(pre, { label, after }) {
    this.pre = pre;
    this.label = label;
    this.html = pre.innerHTML;
    editable(pre, `Python, ${label}`);
    this.note = element("span", { class: "tau-note", role: "status" });
    this.output = element("div", { class: "tau-output", role: "region", "aria-label": `output of ${label}`, hidden: "" });
    this.buttons = element("div", { class: "tau-buttons" });
    after.after(this.buttons, this.output);
    pre.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      if (event.shiftKey || event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.buttons.querySelector("button").click();
      } else indent(event, pre);
    });
  }

  get code() {
    return textOf(this.pre);
  }

  get needs() {
    return this.code.match(/^# needs (\w+)/)?.[1];
  }

  print(text, kind) {
    let last = this.output.lastElementChild;
    if (last?.className !== `tau-${kind}`) {
      last = element("pre", { class: `tau-${kind}`, tabindex: "0" });
      this.output.append(last);
    }
    last.append(text);
  }

  async run() {
    const heard = {
      label: this.label,
      output: (text, stream) => this.print(text, stream),
      figure: (src, name) => this.output.append(element("img", { src, alt: `${name}, as drawn by ${this.label}` })),
    };
    this.output.replaceChildren();
    this.output.hidden = false;
    this.output.dataset.state = "running";
    this.note.textContent = "running";
    const start = performance.now();
    try {
      await python.run(this.code, "page", heard);
      this.ran = this.code;
      this.output.dataset.state = "done";
      this.note.textContent = `done in ${((performance.now() - start) / 1000).toFixed(1)} s`;
    } catch (error) {
      this.output.dataset.state = "failed";
      this.note.textContent = error.message === "stopped" ? "stopped" : "error";
      this.print(error.message + "\n", "error");
      if (/^NameError/m.test(error.message)) this.print("Did you run the blocks above? Use “Run all above”.\n", "error");
      throw error;
    }
  }

  reset() {
    this.pre.innerHTML = this.html;
    this.ran = undefined;
    this.output.replaceChildren();
    this.output.hidden = true;
    delete this.output.dataset.state;
    this.note.textContent = "";
  }
}

const cells = [];

/** Run what stands above a cell and has not run as it stands now. */
async function runAbove(cell) {
  for (const above of cells.slice(0, cells.indexOf(cell))) {
    if (above.ran !== above.code && !above.needs) await above.run();
  }
}

function makeCells() {
  for (const block of document.querySelectorAll("article .highlight-python")) {
    const cell = new Cell(block.querySelector("pre"), { label: `block ${cells.length + 1}`, after: block });
    cells.push(cell);
    if (cell.needs) {
      cell.buttons.append(`Runs on your own computer only: it needs ${cell.needs}.`);
      continue;
    }
    const first = cells.length === 1;
    cell.buttons.append(
      button("Run", () => working(() => cell.run()), { class: "tau-run", "aria-label": `Run ${cell.label}` }),
      first ? "" : button("Run all above", () => working(() => runAbove(cell))),
      cell.note,
    );
  }
}

async function reset() {
  if (busy) python.stop();
  else await python.forget("page");
  for (const cell of cells) cell.reset();
  bar.show("Python: the page is as it was");
}

// Answers: an exercise has a block that defines check_N; below it comes a place for the answer

/** A text that is kept in the browser's storage under a name, from visit to visit. */
function kept(pre, name, original) {
  const key = `tau_rnn: ${PAGE}: ${name}`;
  pre.textContent = localStorage.getItem(key) ?? original;
  pre.addEventListener("input", () => localStorage.setItem(key, textOf(pre)));
  return () => {
    localStorage.removeItem(key);
    pre.textContent = original;
  };
}

function makeAnswers() {
  const spans = [...document.querySelectorAll("article p code")].map((code) => code.textContent);
  for (const cell of [...cells]) {
    const check = cell.code.match(/^def (check_\d+)\(/m)?.[1];
    if (!check) continue;
    const pre = element("pre");
    const box = element("div", { class: "tau-answer" }, element("p", {}, "Your answer:"), pre);
    cell.output.after(box);
    const answer = new Cell(pre, { label: `answer to ${check}`, after: pre });
    kept(pre, check, spans.find((text) => text.startsWith(`${check}(`)) ?? `${check}(...)`);
    answer.verdict = element("strong", { class: "tau-verdict", role: "status" });
    answer.buttons.append(button("Check", () => working(() => verdict(answer, cell)), { class: "tau-run" }), answer.verdict);
  }
}

async function verdict(answer, cell) {
  answer.verdict.textContent = "";
  await runAbove(cell);
  if (cell.ran !== cell.code) await cell.run();
  await answer.run();
  const value = answer.output.querySelector(".tau-value")?.textContent ?? "";
  const [, truth] = value.match(/^(?:np\.)?(True|False)_?$/m) ?? [];
  answer.verdict.dataset.right = truth === "True";
  answer.verdict.textContent = { True: "Right.", False: "Not yet." }[truth] ?? "";
}

// Your turn: the stub of chapter 3 in an editor, and the marker's report beside it

async function makeMarker() {
  const section = document.getElementById("your-turn");
  const after = section?.querySelector(".highlight-console");
  if (!after) return;
  const stub = await (await fetch(new URL("live/my_bptt.py", TauPython.here))).text();
  const pre = element("pre", { id: "my-bptt" });
  const report = element("div", { class: "tau-report", role: "region", "aria-label": "the marker's report", "aria-live": "polite" },
    "The report comes here.");
  const startAgain = kept(pre, "my_bptt.py", stub);
  editable(pre, "my_bptt.py, your backward");
  pre.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing && !event.shiftKey && !event.ctrlKey) indent(event, pre);
  });
  const mark = () => working(async () => {
    report.textContent = "Marking ...";
    try {
      await python.start();
      showReport(report, await python.call("tau_bridge.mark", { code: textOf(pre) }));
    } catch (error) {
      report.replaceChildren(element("pre", { class: "tau-error" }, error.message));
      throw error;
    }
  });
  after.after(element("div", { class: "tau-marker" },
    element("div", {}, element("p", {}, "Or write it here. What you write is kept in this browser."), pre,
      element("div", { class: "tau-buttons" }, button("Mark it", mark, { class: "tau-run" }),
        button("Start again", startAgain))),
    report));
}

function showReport(place, { verdict, rows, text, ok }) {
  const body = rows.map(({ name, error, right }) => element("tr", { class: right ? "tau-right" : "tau-wrong" },
    element("th", { scope: "row" }, `d${name}`), element("td", {}, error), element("td", {}, right ? "✓ right" : "✗ wrong")));
  place.replaceChildren(
    element("p", { class: "tau-verdict", "data-right": String(ok) }, verdict),
    rows.length ? element("table", {}, element("thead", {}, element("tr", {},
      ...["gradient", "relative error", ""].map((head) => element("th", { scope: "col" }, head)))), element("tbody", {}, ...body)) : "",
    element("pre", { tabindex: "0" }, text));
}

document.addEventListener("DOMContentLoaded", () => {
  makeCells();
  if (!cells.length) return;
  makeAnswers();
  makeMarker();
  const title = document.querySelector("article h1");
  title.after(element("p", { class: "tau-intro" },
    `You can edit every Python block below and run it here. The first “Run” loads ${SIZE} (Python and NumPy); ${MORE}.
     Until then nothing is loaded. Shift+Enter runs the block you are in.`));
  document.body.append(bar.root);
});
