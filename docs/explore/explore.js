/* The explorer: sliders, and five panels of SVG that draw what tau_rnn.explore computes.

   Titles, labels, notes and limits of the panels come from Python as well; here are the looks alone. */

"use strict";
(() => {
  const root = document.getElementById("explorer");
  const [form, start, status, panels] = ["controls", "start", "status", "panels"].map((name) =>
    root.querySelector(`.explorer-${name}`));
  const python = new TauPython({ progress: (text) => say(`Python: ${text}`) });
  const say = (text) => { status.textContent = text; };

  const WIDTH = 380, HEIGHT = 280;
  const BOX = { left: 50, right: 370, top: 40, bottom: 240 };
  const THIRDS = [ // colour, dashes and mark of the fastest, the middle and the slowest
    ["#b35806", "none", "circle"],
    ["#707070", "6 3", "square"],
    ["#542788", "9 3 2 3", "triangle"],
  ];
  // Matplotlib's RdBu_r at even distances
  const COLOURS = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7",
    "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"].map((hex) =>
    [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));

  const svg = (tag, attributes = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // From numbers to places

  /** Maps of a panel's limits to its box; (x, y) gives places in the SVG. */
  function scales({ xlim, ylim, log }) {
    const map = ([a, b], [from, to], logarithmic) => {
      const f = logarithmic ? Math.log : (v) => v;
      return (v) => from + ((f(v) - f(a)) / (f(b) - f(a))) * (to - from);
    };
    return {
      x: map(xlim, [BOX.left, BOX.right], log.includes("x")),
      y: map(ylim, [BOX.bottom, BOX.top], log.includes("y")),
    };
  }

  /** Round numbers within limits: the ticks of an axis. */
  function ticks([a, b], logarithmic) {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    const found = [];
    if (logarithmic) {
      const few = high / low > 200 ? [1] : [1, 3];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
        for (const m of few) found.push(Number(`${m}e${e}`));
    } else {
      const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
      const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
      for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
    }
    return found.filter((v) => v >= low * (1 - 1e-9) - 1e-12 && v <= high * (1 + 1e-9) + 1e-12);
  }

  const shown = (v) => String(Number(v.toPrecision(3))).replace("-", "\u2212");

  function line(xs, ys, { x, y }, attributes) {
    let path = "", pen = "M";
    for (let k = 0; k < xs.length; k++) {
      if (!Number.isFinite(ys[k])) { pen = "M"; continue; }
      path += `${pen}${x(xs[k]).toFixed(1)} ${y(ys[k]).toFixed(1)}`;
      pen = "L";
    }
    return svg("path", { d: path, ...attributes });
  }

  function mark(kind, x, y, colour) {
    if (kind === "circle") return svg("circle", { cx: x, cy: y, r: 3, fill: colour });
    const [a, b] = [3, kind === "square" ? 3 : 0];
    return svg("path", { d: `M${x - a} ${y + a}h${2 * a}L${x + b} ${y - a}L${x - b} ${y - a}z`, fill: colour });
  }

  const column = (rows, k) => rows.map((row) => row[k]);

  // The inside of each panel

  function picture({ rates, time, panels: { rates: { z } } }) {
    const canvas = Object.assign(document.createElement("canvas"), {
      width: rates.length, height: rates[0].length,
    });
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    rates.forEach((row, t) => row.forEach((rate, unit) => {
      const place = Math.min(Math.max((rate / (z || 1) + 1) / 2, 0), 1) * (COLOURS.length - 1);
      const k = Math.min(Math.floor(place), COLOURS.length - 2), share = place - k;
      const at = 4 * (unit * canvas.width + t);
      for (let c = 0; c < 3; c++)
        image.data[at + c] = COLOURS[k][c] + share * (COLOURS[k + 1][c] - COLOURS[k][c]);
      image.data[at + 3] = 255;
    }));
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  }

  const inside = {
    rates(view, at) {
      const half = view.time[1] / 2, end = view.time[view.time.length - 1];
      const left = at.x(-half), right = at.x(end + half);
      const bars = [...view.stimulus, view.report[0]].map((t) =>
        svg("path", { d: `M${at.x(t)} ${BOX.top}V${BOX.bottom}`, class: "dotted" }));
      return [svg("image", {
        href: picture(view), x: left, y: BOX.top, width: right - left,
        height: BOX.bottom - BOX.top, preserveAspectRatio: "none",
      }), ...bars];
    },
    adjoint(view, at) {
      const [from, to] = view.report.map(at.x);
      return [
        svg("rect", { x: from, y: BOX.top, width: to - from, height: BOX.bottom - BOX.top, class: "shade" }),
        ...thirds((k, look) => line(view.time, column(view.adjoint, k), at, look)),
      ];
    },
    eigenvalues(view, at) {
      const edge = form.dynamics.value === "continuous"
        ? svg("path", { d: `M${at.x(0)} ${BOX.top}V${BOX.bottom}`, class: "guide" })
        : svg("ellipse", { cx: at.x(0), cy: at.y(0), rx: at.x(1) - at.x(0), ry: at.y(0) - at.y(1), class: "guide" });
      return [edge, ...view.eigenvalues.map(([re, im]) => mark("circle", at.x(re), at.y(im), "#222"))];
    },
    autocorrelation(view, at) {
      const level = at.y(Math.exp(-1));
      return [
        svg("path", { d: `M${BOX.left} ${level}H${BOX.right}`, class: "dotted" }),
        ...thirds((k, look) => line(view.lags, column(view.autocorrelation, k), at, look)),
      ];
    },
    effective(view, at) {
      const equal = line([0.1, 10], [0.1, 10], at, { class: "guide" });
      const units = [...view.tau.keys()].filter((i) => Number.isFinite(view.effective[i]));
      return [equal, ...units.map((i) => {
        const [colour, , kind] = THIRDS[Number(view.third[i])];
        return mark(kind, at.x(view.tau[i]), at.y(view.effective[i]), colour);
      })];
    },
  };

  const thirds = (draw) => THIRDS.map(([stroke, dashes], k) =>
    draw(k, { class: "line", stroke, "stroke-dasharray": dashes }));

  // A panel: what is inside, its frame, and its words

  function drawn(name, view) {
    const panel = view.panels[name], at = scales(panel);
    const text = (words, x, y, more = {}) => svg("text", { x, y, ...more }, words);
    const middle = { "text-anchor": "middle" };
    const [cx, cy] = [(BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2];
    const clip = `clip-${name}`;
    return svg("svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${panel.title}. ${panel.note}`, "data-panel": name },
      svg("clipPath", { id: clip }, svg("rect", {
        x: BOX.left, y: BOX.top, width: BOX.right - BOX.left, height: BOX.bottom - BOX.top,
      })),
      svg("g", { "clip-path": `url(#${clip})` }, ...inside[name](view, at)),
      svg("path", { d: `M${BOX.left} ${BOX.top}V${BOX.bottom}H${BOX.right}`, class: "axis" }),
      ...ticks(panel.xlim, panel.log.includes("x")).flatMap((v) => [
        svg("path", { d: `M${at.x(v)} ${BOX.bottom}v4`, class: "axis" }),
        text(shown(v), at.x(v), BOX.bottom + 16, middle),
      ]),
      ...ticks(panel.ylim, panel.log.includes("y")).flatMap((v) => [
        svg("path", { d: `M${BOX.left} ${at.y(v)}h-4`, class: "axis" }),
        text(shown(v), BOX.left - 6, at.y(v) + 4, { "text-anchor": "end" }),
      ]),
      text(panel.title, BOX.left, 15, { class: "title" }),
      text(panel.note, BOX.left, 31),
      text(panel.x, cx, HEIGHT - 6, middle),
      text(panel.y, 12, cy, { ...middle, transform: `rotate(-90 12 ${cy})` }),
      ...(name === "adjoint" ? legend(view, text) : []),
    );
  }

  const legend = ({ thirds: names }, text) => thirds((k, look) => [
    svg("path", { d: `M${BOX.left + 8} ${BOX.bottom - 40 + 14 * k}h28`, ...look }),
    text(names[k], BOX.left + 42, BOX.bottom - 36 + 14 * k),
  ]).flat();

  function draw(view) {
    panels.replaceChildren(...Object.keys(view.panels).map((name) => drawn(name, view)));
  }

  // The sliders: where one computation is under way, the next begins with what they are set to then

  const settings = () => Object.fromEntries([...form.elements].filter((e) => e.name).map((e) =>
    [e.name, e.type === "range" ? Number(e.value) : e.value]));

  let busy = false, moved = false;
  async function follow() {
    for (const slider of form.querySelectorAll("input"))
      slider.parentElement.querySelector("output").value = Number(slider.value).toFixed(2) + slider.dataset.unit;
    moved = true;
    if (busy) return;
    busy = true;
    try {
      while (moved) {
        moved = false;
        const begun = performance.now();
        draw(await python.call("tau_rnn.explore.view.frame", settings()));
        root.dataset.moves = Number(root.dataset.moves ?? 0) + 1;
        root.dataset.ms = Math.round(performance.now() - begun);
        say(`computed and drawn in ${root.dataset.ms} ms`);
      }
    } catch (error) {
      say(`Python: ${error.message}`);
    }
    busy = false;
  }

  start.hidden = false;
  form.addEventListener("input", follow);
  form.addEventListener("submit", (event) => event.preventDefault());
  start.querySelector("button").addEventListener("click", async () => {
    start.hidden = true;
    form.hidden = false;
    form.elements[0].focus();
    await python.start().then(follow, (error) => say(`Python: ${error.message}`));
  });
})();
