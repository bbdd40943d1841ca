// Puts the parts of each sheet together.

/** Return a sheet with functions to look things up in it. */
function prepare(data) {
  return { ...data, run: (column, dtype, mode) => data.runs.find((r) => r.column === column && r.dtype === dtype && r.mode === mode) };
}

/** Return where to begin: at the first error, else at the largest difference. */
function beginning(sheet) {
  const rank = (run) => {
    const nodes = Object.keys(run.points).map(Number);
    const worst = nodes.reduce((a, b) => {
      const [p, q] = [run.points[a], run.points[b]];
      return badness(q) > badness(p) || (badness(q) === badness(p) && badness(q) < SUSPICIOUS && q[REL] > p[REL]) ? b : a;
    });
    return [badness(run.points[worst]), worst];
  };
  const filled = sheet.runs.filter((run) => Object.keys(run.points).length);
  let [best, score, node] = [null, -2, 0];
  for (const run of filled) {
    const [bad, worst] = rank(run);
    if (bad > score) [best, score, node] = [run, bad, worst];
  }
  return best && { column: best.column, dtype: best.dtype, mode: best.mode, node };
}

/** Fill one sheet's place on the page. */
function explore(place, data) {
  const sheet = prepare(data);
  let state = beginning(sheet);
  if (!state) return;
  const graph = graphOf(sheet, (column, node) => { choose(column, node); show(); });
  const chart = chartOf(sheet, choose);
  const panel = panelOf(sheet, choose);
  const status = make("p", { class: "hidden", role: "status" });
  const runs = [...new Map(sheet.runs.map((r) => [`${r.dtype} ${r.mode}`, r])).values()];
  const group = `run-${place.id}`;
  const switches = make("fieldset", { class: "switch" }, make("legend", {}, "Run"), ...runs.map((run) => {
    const input = make("input", { type: "radio", name: group, value: `${run.dtype} ${run.mode}`,
      change: () => { state = { ...state, dtype: run.dtype, mode: run.mode }; update(); } });
    return make("label", {}, input, make("span", {}, run.mode === "propagated" ? run.dtype : `${run.dtype} ${run.mode}`));
  }));
  const legend = make("ul", { class: "legend" }, ...LOOKS.map(([name, sign, text]) =>
    make("li", {}, make("span", { class: `chip ${name}`, "aria-hidden": "true" }, sign), text)));

  function choose(column, node, mode = state.mode) {
    if (node === null) return;
    const run = sheet.run(column, state.dtype, mode);
    state = { ...state, column, node, mode: run ? mode : state.mode };
    update();
    const point = sheet.run(column, state.dtype, state.mode)?.points[node];
    status.textContent = `${sheet.nodes[node][NAME]}, ${sheet.titles[column]}: ${look(point, sheet.limits, state.dtype).words}`;
  }

  /** Bring the panel into view where the page is one column, as on a phone. */
  function show() {
    const box = panel.element.getBoundingClientRect();
    if (box.top < innerHeight * 0.75 && box.bottom > 0) return;
    panel.element.scrollIntoView({ behavior: still() ? "auto" : "smooth", block: "start" });
    panel.element.focus({ preventScroll: true });
  }

  function update() {
    for (const input of switches.querySelectorAll("input")) input.checked = input.value === `${state.dtype} ${state.mode}`;
    graph.update(state);
    chart.update(state);
    panel.update(state);
  }

  const hint = make("p", { class: "hint" }, "Choose a cell to see its endpoint. Arrow keys move, Enter chooses; a block opens with its name.");
  const back = make("button", { type: "button", class: "back", click: () => {
    graph.element.scrollIntoView({ behavior: still() ? "auto" : "smooth", block: "start" });
    (graph.element.querySelector('[aria-pressed="true"]') ?? graph.element.querySelector('[tabindex="0"]'))?.focus({ preventScroll: true });
  } }, "Back to the graph");
  place.append(switches, make("h3", {}, "Error along the depth"), chart.element,
    make("div", { class: "split" },
      make("div", { class: "side" }, make("h3", {}, "Blocks and layers"), legend, hint, graph.element),
      make("div", { class: "aside" }, panel.element, back)), status);
  graph.reveal(state.node);
  update();
  for (const jump of document.querySelectorAll(`[data-sheet="${place.id}"]`)) {
    jump.addEventListener("click", () => {
      const { column, dtype, mode, node } = JSON.parse(jump.dataset.go);
      state = { ...state, dtype, mode };
      graph.reveal(node);
      choose(column, node);
      show();
    });
    jump.hidden = false;
  }
}

for (const place of document.querySelectorAll(".explorer")) {
  explore(place, JSON.parse(place.querySelector("script").textContent));
}
