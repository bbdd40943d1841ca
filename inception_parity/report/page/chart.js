// Error along depth, propagated and isolated, against the noise floor.

const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const MODES = { propagated: "propagated: from the images on", isolated: "isolated: each layer given the reference's own input" };

/** Return [lowest, highest] power of ten that a panel needs. */
function powersOf(lines, floors, limits) {
  const all = [...lines.flatMap((line) => line.values), ...floors, ...limits]
    .filter((v) => v > 0 && v < LARGEST).map(Math.log10);
  if (!all.length) return [-16, -10];
  return [Math.floor(Math.min(...all) - 0.2), Math.ceil(Math.max(...all) + 0.2)];
}

/** Build the chart; `choose(column, node)` is called where a point is clicked. */
function chartOf(sheet, choose) {
  const order = sheet.nodes.flatMap((node, index) => (node[LEAF] ? [index] : []));
  const place = new Map(order.map((node, index) => [node, index]));
  const frame = make("div", { class: "chart" });
  const readout = make("output", { class: "readout" });
  const slider = make("input", {
    type: "range", min: "0", max: String(order.length - 1), step: "1", "aria-label": "Endpoint along the depth",
    input: () => choose(state.column, order[+slider.value]),
  });
  const legend = make("ul", { class: "legend" });
  let state = null;

  function panel(mode, width) {
    const lines = sheet.titles.flatMap((title, column) => {
      const run = sheet.run(column, state.dtype, mode);
      if (!run) return [];
      return [{ column, run, values: order.map((node) => run.points[node]?.[REL] ?? null) }];
    });
    if (!lines.length) return null;
    const exact = state.dtype === "float64";
    const floors = exact ? [] : order.map((node) => lines[0].run.points[node]?.[FLOOR] ?? null);
    const limits = exact ? order.map(() => sheet.limits.float64) : floors.map((f) => (f === null ? null : f * sheet.limits.floors));
    const [low, high] = powersOf(lines, floors, limits);
    const height = 210, left = 46, right = 10, top = 10, bottom = 24;
    const x = (i) => left + (order.length < 2 ? 0 : (i * (width - left - right)) / (order.length - 1));
    const y = (v) => top + ((high - Math.log10(Math.min(Math.max(v, 10 ** low), 10 ** high))) / (high - low)) * (height - top - bottom);
    const words = lines.map(({ column, run }) => {
      const bad = Object.values(run.points).filter((p) => p[VERDICT] >= SUSPICIOUS).length;
      return `${sheet.titles[column]}: ${bad ? `${count(bad, "endpoint fails", "endpoints fail")}` : "all below the limit"}`;
    });
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": `Relative difference along the depth, ${state.dtype} ${mode}. ${words.join("; ")}.` });
    axes(picture, low, high, { width, height, left, right, bottom, y });
    if (floors.length) {
      const known = floors.flatMap((f, i) => (f === null ? [] : [[x(i), y(f)]]));
      const base = height - bottom;
      if (known.length) {
        const path = `M${known[0][0]} ${base}${known.map(([a, b]) => `L${a.toFixed(1)} ${b.toFixed(1)}`).join("")}L${known.at(-1)[0]} ${base}Z`;
        picture.append(draw("path", { class: "floor", d: path }));
      }
    }
    picture.append(draw("path", { class: "limit", d: pathOf(limits, x, y) }));
    if (place.has(state.node)) {
      const at = x(place.get(state.node)).toFixed(1);
      picture.append(draw("path", { class: "here", d: `M${at} ${top}V${height - bottom}` }));
    }
    for (const { column, run, values } of lines) {
      picture.append(draw("path", { class: `line s${column % 4}`, d: pathOf(values, x, y), "stroke-dasharray": DASHES[column % 4] }));
      order.forEach((node, i) => {
        if (!run.points[node]?.[GUILTY]) return;
        const [a, b] = [x(i), y(values[i] ?? 10 ** high)];
        picture.append(draw("path", { class: "culprit", d: `M${a} ${b - 7}L${a + 6} ${b}L${a} ${b + 7}L${a - 6} ${b}Z` }));
      });
    }
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const part = ((event.clientX - box.left) * (width / box.width) - left) / (width - left - right);
      const index = Math.max(0, Math.min(order.length - 1, Math.round(part * (order.length - 1))));
      choose(state.column, order[index], mode);
    });
    return make("figure", {}, make("figcaption", {}, `${state.dtype}, ${MODES[mode] ?? mode}`), picture);
  }

  /** Return a path through the values that there are; what is 0 lies on the lowest line. */
  function pathOf(values, x, y) {
    let path = "", pen = "M";
    values.forEach((value, i) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    });
    return path;
  }

  function axes(picture, low, high, { width, height, left, right, bottom, y }) {
    const step = Math.ceil((high - low) / 6);
    for (let power = low; power <= high; power += step) {
      const at = y(10 ** power).toFixed(1);
      picture.append(draw("path", { class: "grid", d: `M${left} ${at}H${width - right}` }),
        draw("text", { x: left - 6, y: +at + 4, "text-anchor": "end" }, `1e${power}`));
    }
    const ends = [[left, "start", "first layer"], [width - right, "end", "last layer"]];
    for (const [at, anchor, text] of ends) {
      picture.append(draw("text", { x: at, y: height - 6, "text-anchor": anchor }, text));
    }
  }

  function key(exact) {
    const sample = (inner) => {
      const picture = draw("svg", { width: 26, height: 12, "aria-hidden": "true" });
      picture.append(inner);
      return picture;
    };
    const items = sheet.titles.map((title, column) => [sample(draw("path", {
      class: `line s${column % 4}`, d: "M0 6H26", "stroke-dasharray": DASHES[column % 4] })), title]);
    if (!exact) items.push([sample(draw("path", { class: "floor", d: "M0 2H26V12H0Z" })), "noise floor"]);
    items.push([sample(draw("path", { class: "limit", d: "M0 6H26" })), exact ? "limit" : `limit, ${sheet.limits.floors} floors`]);
    items.push([sample(draw("path", { class: "culprit", d: "M13 0L19 6L13 12L7 6Z" })), "starts here"]);
    legend.replaceChildren(...items.map(([picture, text]) => make("li", {}, picture, text)));
  }

  function render() {
    if (!state) return;
    const width = Math.max(280, frame.clientWidth || 800);
    const shown = Object.keys(MODES).map((mode) => panel(mode, width)).filter(Boolean);
    frame.replaceChildren(...shown);
    key(state.dtype === "float64");
    if (place.has(state.node)) slider.value = String(place.get(state.node));
    const name = sheet.nodes[state.node][NAME];
    const values = sheet.titles.map((title, column) =>
      `${title} ${sci(sheet.run(column, state.dtype, state.mode)?.points[state.node]?.[REL])}`);
    readout.textContent = `${name}: ${values.join(", ")}`;
    slider.setAttribute("aria-valuetext", readout.textContent);
  }

  new ResizeObserver(() => {
    const drawn = frame.querySelector("svg");
    if (drawn && Math.abs(drawn.getAttribute("width") - frame.clientWidth) > 1) render();
  }).observe(frame);
  return {
    element: make("div", { class: "depth" }, legend, frame, make("div", { class: "slide" }, slider, readout)),
    update(next) { state = next; render(); },
  };
}
