// What there is to see of one endpoint in one backend: pictures, numbers, cause and fix.

// From dark to light, and from one colour through grey to another: fit for colour-blind readers.
const STOPS = {
  0: [[0, 32, 77], [60, 77, 110], [124, 123, 120], [188, 175, 111], [255, 234, 70]],
  1: [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]],
};
const NOT_FINITE = 255;

/** Return the colour of a part of the way, 0 to 1. */
function colour(stops, part) {
  const at = part * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return stops[i].map((c, k) => Math.round(c + (at - i) * (stops[i + 1][k] - c)));
}

/** Return a figure of a map: canvas, ring around the largest difference, scale. */
function heatMap(map, title, mark) {
  if (!map) return make("figure", { class: "map" }, make("figcaption", {}, title), make("p", { class: "empty" }, "nothing to draw"));
  const [width, height, low, high, signed, text] = map;
  const pixels = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const table = Array.from({ length: NOT_FINITE }, (_, i) => colour(STOPS[signed], i / (NOT_FINITE - 1)));
  table[NOT_FINITE] = [255, 0, 200];
  const image = new ImageData(width, height);
  pixels.forEach((value, i) => image.data.set([...table[value], 255], 4 * i));
  const said = `${title}: ${plain(low)} to ${plain(high)}${pixels.includes(NOT_FINITE) ? ", with values that aren't finite, in pink" : ""}`;
  const canvas = make("canvas", { width, height, role: "img", "aria-label": said });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.style.aspectRatio = `${width} / ${Math.max(height, width / 6)}`;
  const ring = mark && make("span", { class: "ring", "aria-hidden": "true", style: `left:${100 * mark[0]}%;top:${100 * mark[1]}%` });
  const scale = make("div", { class: "scale" }, make("span", {}, plain(low)),
    make("i", { style: `background:linear-gradient(90deg,${STOPS[signed].map((c) => `rgb(${c})`).join(",")})` }), make("span", {}, plain(high)));
  return make("figure", { class: "map" }, make("figcaption", {}, title), make("div", { class: "canvas" }, canvas, ring), scale);
}

/** Return a figure of one or two histograms over the same bins; heights are logarithmic. */
function histogram(title, extent, filled, outline, names) {
  const width = 240, height = 84, base = 66;
  const most = Math.log1p(Math.max(...filled, ...(outline ?? [])));
  const top = (n) => base - (Math.log1p(n) / most) * (base - 4);
  const bin = width / filled.length;
  const total = filled.reduce((a, b) => a + b, 0);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title}: ${total.toLocaleString("en")} values from ${plain(extent[0])} to ${plain(extent[1])}` });
  filled.forEach((n, i) => {
    if (n) picture.append(draw("rect", { class: "bar", x: (i * bin + 0.5).toFixed(1), y: top(n).toFixed(1), width: (bin - 1).toFixed(1), height: (base - top(n)).toFixed(1) }));
  });
  if (outline) {
    const path = outline.map((n, i) => `${i ? "L" : "M"}${(i * bin).toFixed(1)} ${top(n).toFixed(1)}H${((i + 1) * bin).toFixed(1)}`).join("");
    picture.append(draw("path", { class: "outline", d: path }));
  }
  picture.append(draw("path", { class: "axis", d: `M0 ${base}H${width}` }),
    draw("text", { x: 0, y: height - 4 }, plain(extent[0])),
    draw("text", { x: width, y: height - 4, "text-anchor": "end" }, plain(extent[1])));
  return make("figure", { class: "histogram" }, make("figcaption", {}, title, names ? make("span", { class: "kind" }, names) : null), picture);
}

/** Return the sentence that says what a point's verdict means. */
function sentence(point, run, limits) {
  if (point[PROBLEM]) return point[PROBLEM];
  const number = run.dtype === "float64"
    ? `relative difference ${sci(point[REL])}, limit ${sci(limits.float64)}`
    : `relative difference ${sci(point[REL])}, ${point[FLOORS] === null ? "no floor is known" : `${plain(point[FLOORS])} noise floors, limit ${limits.floors}`}`;
  if (point[GUILTY]) return `An error starts here: all that it is computed from agrees, but it doesn't; ${number}.`;
  if (point[VERDICT] >= SUSPICIOUS) return `Carries on an error from before; ${number}.`;
  return `${["Bit-identical", "Agrees", "Shown, not judged"][point[VERDICT]]}; ${number}.`;
}

/** Build the panel; `choose(column, node)` is called from its links. */
function panelOf(sheet, choose) {
  const element = make("section", { class: "panel", tabindex: "-1", "aria-label": "The chosen endpoint" });
  const feeds = sheet.nodes.map(() => []);
  sheet.nodes.forEach((node, index) => { if (node[LEAF]) node[INPUTS].forEach((input) => feeds[input].push(index)); });
  let view = "all";
  let state = null;

  const link = (node) => make("button", { type: "button", class: "link", click: () => choose(state.column, node) }, sheet.nodes[node][NAME]);

  function neighbours(title, list) {
    if (!list.length) return null;
    return make("p", { class: "neighbours" }, `${title} `, ...list.flatMap((n, i) => (i ? [", ", link(n)] : [link(n)])));
  }

  function backends() {
    return make("div", { class: "segments", role: "group", "aria-label": "Backend" }, ...sheet.titles.map((title, column) => {
      const point = sheet.run(column, state.dtype, state.mode)?.points[state.node];
      const { name, sign, words } = look(point, sheet.limits, state.dtype);
      return make("button", { type: "button", class: name, "aria-pressed": String(column === state.column), disabled: !point,
        "aria-label": `${title}, ${words}`, "data-key": `backend-${column}`, click: () => choose(column, state.node) }, `${sign} ${title}`);
    }));
  }

  function numbers(point) {
    const rows = [
      ["relative L2", sci(point[REL])], ["noise floor", sci(point[FLOOR])], ["in floors", plain(point[FLOORS])],
      ["largest difference", plain(point[MAX_ABS])], ["in last places", plain(point[ULP])],
      ["1 − cosine", sci(point[APART])], ["SQNR, dB", plain(point[SQNR])],
    ].filter(([, value]) => value !== "–");
    return make("dl", { class: "numbers" }, ...rows.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
  }

  /** Return what is known of the cause here: it was looked for in one run of the backend. */
  function findings() {
    const all = sheet.runs.filter((run) => run.column === state.column).flatMap((run) => run.findings);
    return all.filter((f) => f.endpoint === state.node).map((f, i) => make("div", { class: "finding" },
      make("h4", {}, i ? `or: ${f.cause}` : `Cause: ${f.cause}`), f.evidence ? make("p", {}, f.evidence) : null,
      f.fix ? make("p", {}, "To fix it: ", make("code", {}, f.fix)) : null));
  }

  function pictures(run) {
    const shot = sheet.pictures[run.pictures[state.node]];
    if (!shot) return [];
    const shown = shot.views[view] ? view : "all";
    const [theirs, ours, difference] = shot.views[shown].map((i) => (i === null ? null : sheet.maps[i]));
    const channels = shot.channel;
    const what = shown === "worst" ? `channel ${channels[0]} of ${channels[1]}` : channels ? "all channels: mean size; largest difference" : "";
    const where = [shot.image ? `image ${shot.image[0]} of ${shot.image[1]}` : "", what].filter(Boolean).join(", ");
    const tabs = shot.views.worst && make("div", { class: "segments small", role: "group", "aria-label": "Channels" },
      ...[["all", "All channels"], ["worst", `Channel ${channels[0]}`]].map(([key, text]) => make("button", {
        type: "button", "aria-pressed": String(shown === key), "data-key": `view-${key}`, click: () => { view = key; render(); } }, text)));
    const title = sheet.titles[state.column];
    const parts = [make("div", { class: "between" }, make("h4", {}, "Pictures"), tabs || null),
      where ? make("p", { class: "kind" }, `${where}; counted from 0`) : null,
      make("div", { class: "maps" }, heatMap(theirs, sheet.reference, shot.mark), heatMap(ours, title, shot.mark), heatMap(difference, "difference", shot.mark))];
    const bars = shot.histogram;
    if (bars) {
      parts.push(make("div", { class: "histograms" },
        histogram("values", bars.values, sheet.counts[bars.reference], sheet.counts[bars.found], `: ${sheet.reference} filled, ${title} as a line`),
        histogram("differences", bars.differences, sheet.counts[bars.difference], null, "")));
    }
    if (shot.worst.length) parts.push(worstTable(shot.worst, title));
    return parts;
  }

  function worstTable(list, title) {
    const head = ["index", sheet.reference, title, "difference"].map((text) => make("th", { scope: "col" }, text));
    return make("div", { class: "frame" }, make("table", { class: "worst" },
      make("caption", {}, list.length > 1 ? "Largest differences" : "Largest difference"), make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...list.map(([index, ...values]) => make("tr", {}, make("th", { scope: "row" }, `[${index.join(", ")}]`),
        ...values.map((v) => make("td", {}, v === null ? "not finite" : plain(v))))))));
  }

  function render() {
    const held = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const node = sheet.nodes[state.node];
    const run = sheet.run(state.column, state.dtype, state.mode);
    const point = run?.points[state.node];
    const { name, sign } = look(point, sheet.limits, state.dtype);
    element.replaceChildren(
      make("h3", {}, node[NAME]),
      make("p", { class: "kind" }, [node[KIND], node[SHAPE].join(" × "), `${state.dtype} ${state.mode}`].filter(Boolean).join(" · ")),
      backends(),
      ...(point ? [make("p", { class: `said ${name}` }, make("span", { class: "sign", "aria-hidden": "true" }, sign), sentence(point, run, sheet.limits)),
        ...findings(), numbers(point)] : [make("p", {}, "This endpoint wasn't run in this mode.")]),
      ...[neighbours("computed from", node[INPUTS]), neighbours("goes to", feeds[state.node])].filter(Boolean),
      ...(point ? pictures(run).filter(Boolean) : []));
    if (held) element.querySelector(`[data-key="${held}"]`)?.focus();
  }

  return { element, update(next) { state = next; render(); } };
}
