/* Python (Pyodide) in a web worker; tau-python.js is the page's side of it.

   The page sends {id, kind, ...}; each is answered by one {id, kind: "done", value} or
   {id, kind: "failed", error}, and before that by any number of {id, kind: "progress", text},
   {id, kind: "output", text, stream} and {id, kind: "figure", name, type, bytes}.

     start  {live}                    live: address of the folder with settings.json; loads Python,
                                      NumPy and tau_rnn
     load   {packages}                packages of Pyodide, such as ["scipy"]
     run    {code, namespace, label}  run statements; what they print and draw is sent as it appears
     call   {target, args}            call a function, "tau_rnn.explore.view.frame", with keywords;
                                      value: its result, dicts as objects, arrays as typed arrays
     forget {namespace}               throw the variables of a namespace away

   SciPy and Matplotlib are loaded when something imports them. A worker runs one message after the
   other; to stop one, the page ends the worker and starts a new one. */

"use strict";
let pyodide, bridge, current;
let queue = Promise.resolve();

const send = (kind, more, transfer = []) => postMessage({ id: current, kind, ...more }, transfer);
const progress = (text) => send("progress", { text });

const actions = {
  async start({ live }) {
    const settings = await (await fetch(new URL("settings.json", live))).json();
    const address = new URL(settings.pyodide, live).href;
    progress("loading Python");
    importScripts(address + "pyodide.js");
    pyodide = await loadPyodide({ indexURL: address });
    const quiet = { messageCallback: () => {} };
    progress("loading NumPy");
    await pyodide.loadPackage("numpy", quiet);
    progress("loading tau_rnn");
    for (const [name, extractDir] of [
      [settings.wheel, "/home/pyodide/package"],
      [settings.book, "/home/pyodide/book"],
      ["bridge.zip", "/home/pyodide/package"],
    ]) {
      const answer = await fetch(new URL(name, live));
      if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
      pyodide.unpackArchive(await answer.arrayBuffer(), "zip", { extractDir });
    }
    pyodide.registerJsModule("tau_page", {
      output: (text, stream) => send("output", { text, stream }),
      figure: (name, type, bytes) => {
        const copy = bytes.slice();
        send("figure", { name, type, bytes: copy }, [copy.buffer]);
      },
      load: async (name) => {
        progress(`loading ${name}`);
        await pyodide.loadPackage(name, quiet);
        progress("running");
      },
    });
    pyodide.runPython("import sys; sys.path.insert(0, '/home/pyodide/package')");
    bridge = pyodide.pyimport("tau_bridge");
    return pyodide.version;
  },
  async load({ packages }) {
    progress(`loading ${packages.join(", ")}`);
    await pyodide.loadPackage(packages, { messageCallback: () => {} });
  },
  async run({ code, namespace, label }) {
    progress("running");
    const trouble = await bridge.run(code, namespace, label);
    if (trouble) throw new Error(trouble);
  },
  async call({ target, args }) {
    const result = await bridge.call(target, pyodide.toPy(args));
    if (!(result instanceof pyodide.ffi.PyProxy)) return result;
    const value = result.toJs({ dict_converter: Object.fromEntries, create_pyproxies: false });
    result.destroy();
    return value;
  },
  async forget({ namespace }) {
    bridge.forget(namespace);
  },
};

onmessage = ({ data }) => {
  queue = queue.then(async () => {
    current = data.id;
    try {
      send("done", { value: await actions[data.kind](data) });
    } catch (error) {
      send("failed", { error: String(error.message ?? error) });
    }
  });
};
