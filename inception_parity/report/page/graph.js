// The network as a graph: one row a block or layer, lanes for what flows, one column a backend.

/** Return the tree of dotted names: {key, label, node, children, first}; `first` orders it. */
function treeOf(nodes) {
  const root = { key: "", label: "", node: null, children: [], first: -1 };
  const known = new Map([["", root]]);
  const at = (key, first) => {
    if (known.has(key)) return known.get(key);
    const cut = key.lastIndexOf(".");
    const parent = at(cut < 0 ? "" : key.slice(0, cut), first);
    const item = { key, label: key.slice(cut + 1), node: null, children: [], first };
    known.set(key, item);
    parent.children.push(item);
    return item;
  };
  nodes.forEach((node, index) => { at(node[NAME], index).node = index; });
  return root;
}

/** Return all nodes in and below an item, its own first. */
function nodesIn(item) {
  const own = item.node === null ? [] : [item.node];
  return own.concat(...item.children.map(nodesIn));
}

/** Return the deepest level at which there are no more than `most` rows. */
function depthFor(root, most) {
  const rows = (item, depth) => 1 + (depth > 0 ? item.children.reduce((n, c) => n + rows(c, depth - 1), 0) : 0);
  let depth = 1;
  while (depth < 8 && rows(root, depth + 1) <= most && rows(root, depth + 1) > rows(root, depth)) depth += 1;
  return depth;
}

/** Return the rows that are visible: {item, depth, open}. */
function rowsOf(root, open) {
  const rows = [];
  const walk = (item, depth) => {
    for (const child of item.children) {
      const isOpen = child.children.length > 0 && open.has(child.key);
      rows.push({ item: child, depth, open: isOpen });
      if (isOpen) walk(child, depth + 1);
    }
  };
  walk(root, 0);
  return rows;
}

/** Give every row its lane and its lines: [x1, y1, x2, y2] in lanes and halves of a row. */
function layLanes(rows, nodes) {
  const rowOf = new Map(); // node -> the row that stands for it
  rows.forEach((row, index) => {
    row.flows = !row.open;
    if (row.flows) for (const node of nodesIn(row.item)) rowOf.set(node, index);
  });
  const before = rows.map(() => new Set());
  const last = rows.map(() => -1);
  nodes.forEach((node, index) => {
    const here = rowOf.get(index);
    if (here === undefined) return;
    for (const input of node[INPUTS]) {
      const there = rowOf.get(input);
      if (there === undefined || there >= here) continue;
      before[here].add(there);
      last[there] = Math.max(last[there], here);
    }
  });
  const lanes = [];
  let width = 1;
  rows.forEach((row, index) => {
    const top = lanes.slice();
    row.lines = [];
    row.lane = 0;
    if (row.flows) {
      const feeding = top.flatMap((r, lane) => (r !== null && before[index].has(r) ? [lane] : []));
      let lane = feeding.find((l) => last[top[l]] === index);
      for (const l of feeding) if (last[top[l]] <= index) lanes[l] = null;
      if (lane === undefined) lane = lanes.indexOf(null) < 0 ? lanes.length : lanes.indexOf(null);
      for (const l of feeding) row.lines.push([l, 0, lane, 1]);
      lanes[lane] = last[index] > index ? index : lanes[lane] ?? null;
      if (last[index] > index) row.lines.push([lane, 1, lane, 2]);
      row.lane = lane;
    }
    top.forEach((r, l) => { if (r !== null && lanes[l] === r) row.lines.push([l, 0, l, 2]); });
    width = Math.max(width, lanes.length);
  });
  return width;
}

const ROW = 32, LANE = 11; // height of a row, distance of lanes

/** Return the drawing of a row's lanes. */
function lanesOf(row, width, mark) {
  const x = (lane) => 8 + lane * LANE;
  const picture = draw("svg", { class: "lanes", width: x(width - 1) + 8, height: ROW, "aria-hidden": "true" });
  for (const [from, y1, to, y2] of row.lines) {
    const [a, b, c, d] = [x(from), (y1 * ROW) / 2, x(to), (y2 * ROW) / 2];
    const path = from === to ? `M${a} ${b}V${d}` : `M${a} ${b}C${a} ${d - 4} ${c} ${b + 4} ${c} ${d}`;
    picture.append(draw("path", { d: path }));
  }
  if (row.flows) {
    const centre = [x(row.lane), ROW / 2];
    const block = row.item.children.length > 0;
    picture.append(block
      ? draw("rect", { class: mark, x: centre[0] - 5, y: centre[1] - 5, width: 10, height: 10, rx: 2 })
      : draw("circle", { class: mark, cx: centre[0], cy: centre[1], r: 4 }));
  }
  return picture;
}

/** Build the graph; `update(state)` shows a state, `choose(column, node)` is called on a click. */
function graphOf(sheet, choose) {
  const root = treeOf(sheet.nodes);
  const open = new Set();
  const depth = depthFor(root, 40);
  const openTo = (item, level) => {
    for (const child of item.children) if (level > 1 && child.children.length) { open.add(child.key); openTo(child, level - 1); }
  };
  openTo(root, depth);
  let state = null;
  let focus = null; // key and column of the cell in the tab order
  const body = make("tbody");
  const heads = sheet.titles.map((title) => make("th", { scope: "col" }, title));
  const table = make("table", { role: "grid", class: "graph", "aria-label": "Blocks and layers by backend" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "block"), ...heads)), body);

  const whole = make("div", { class: "tools" },
    make("button", { type: "button", click: () => setAll(true) }, "Open all"),
    make("button", { type: "button", click: () => setAll(false) }, "Close all"));

  function setAll(opened) {
    open.clear();
    const walk = (item) => item.children.forEach((c) => { if (c.children.length) { open.add(c.key); walk(c); } });
    if (opened) walk(root);
    render();
  }

  /** Return what a row shows of a run: [point, node to choose]. */
  function pointOf(row, run) {
    if (!run) return [null, null];
    const own = row.item.node;
    if (row.open || !row.item.children.length) return [run.points[own] ?? null, own];
    let worst = null;
    for (const node of nodesIn(row.item)) {
      const point = run.points[node];
      if (!point) continue;
      const more = worst === null || badness(point) > badness(run.points[worst])
        || (badness(point) === badness(run.points[worst]) && (point[REL] ?? 0) > (run.points[worst][REL] ?? 0));
      if (more) worst = node;
    }
    if (worst === null) return [null, null];
    const fails = run.points[worst][VERDICT] >= SUSPICIOUS;
    return [run.points[worst], fails || own === null || !run.points[own] ? worst : own];
  }

  function cell(row, column, run) {
    const [point, node] = pointOf(row, run);
    const { name, sign, words } = look(point, sheet.limits, state.dtype);
    const value = point ? (point[PROBLEM] ? "" : sci(point[REL])) : "";
    const chosen = node !== null && state.column === column && state.node === node;
    const said = `${row.item.key}, ${sheet.titles[column]}: ${words}${value ? `, relative difference ${value}` : ""}`;
    const button = make("button", {
      type: "button", class: `cell ${name}`, tabindex: "-1", "aria-label": said, title: said,
      "aria-pressed": chosen ? "true" : "false", disabled: point === null,
      "data-at": `${row.item.key}|${column}`, click: () => choose(column, node),
    }, make("span", { class: "sign" }, sign), make("span", { class: "value" }, value));
    return make("td", {}, button);
  }

  function render() {
    const kept = body.contains(document.activeElement) ? document.activeElement.dataset.at : null;
    const rows = rowsOf(root, open);
    const width = layLanes(rows, sheet.nodes);
    body.replaceChildren(...rows.map((row) => {
      const runs = sheet.titles.map((_, column) => sheet.run(column, state.dtype, state.mode));
      const points = runs.map((run) => pointOf(row, run)[0]);
      const worst = points.reduce((a, b) => (badness(b) > badness(a) ? b : a), null);
      const mark = worst ? look(worst, sheet.limits, state.dtype).name : "none";
      const at = `${row.item.key}|-1`;
      const kind = row.item.node === null ? "" : sheet.nodes[row.item.node][KIND];
      const inside = [
        make("span", { class: "twist", "aria-hidden": "true" }, row.item.children.length ? (row.open ? "▾" : "▸") : ""),
        make("span", { class: "label" }, row.item.label), make("span", { class: "kind" }, kind)];
      const name = row.item.children.length
        ? make("button", {
          type: "button", class: "name", tabindex: "-1", "data-at": at, title: `${row.item.key}  ${kind}`,
          "aria-expanded": String(row.open), "aria-label": `${row.item.key}, ${kind}`,
          click: () => { if (row.open) open.delete(row.item.key); else open.add(row.item.key); render(); },
        }, ...inside)
        : make("span", { class: "name", title: `${row.item.key}  ${kind}` }, ...inside);
      const head = make("th", { scope: "row", style: `--depth:${row.depth}` },
        make("div", { class: "row" }, lanesOf(row, width, mark), name));
      return make("tr", { class: row.open ? "opened" : null }, head,
        ...runs.map((run, column) => cell(row, column, run)));
    }));
    keepFocus(kept);
  }

  /** Leave one cell in the tab order, and the focus where it was. */
  function keepFocus(kept) {
    const all = [...body.querySelectorAll("[data-at]:not([disabled])")];
    const find = (at) => all.find((button) => button.dataset.at === at);
    const pressed = body.querySelector('[aria-pressed="true"]');
    const target = (kept && find(kept)) || (focus && find(focus)) || pressed || all[0];
    if (!target) return;
    target.tabIndex = 0;
    if (kept) target.focus();
  }

  body.addEventListener("focusin", (event) => {
    if (!event.target.dataset.at) return;
    for (const other of body.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    event.target.tabIndex = 0;
    focus = event.target.dataset.at;
  });

  body.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };
    const step = steps[event.key];
    if (!step || !event.target.dataset.at) return;
    event.preventDefault();
    const lines = [...body.rows];
    const line = lines.findIndex((tr) => tr.contains(event.target));
    const column = [...lines[line].cells].findIndex((td) => td.contains(event.target));
    const usable = (y, x) => lines[y]?.cells[x]?.querySelector("[data-at]:not([disabled])");
    if (step[0] === 0) { usable(line, column + step[1])?.focus(); return; }
    const order = step[0] < 0 ? [...lines.keys()].reverse() : [...lines.keys()];
    const far = Math.abs(step[0]) === Infinity;
    const ahead = order.filter((y) => (step[0] < 0 ? y < line : y > line) && usable(y, column));
    const goal = far ? ahead.at(-1) : ahead[0];
    if (goal !== undefined) usable(goal, column).focus();
  });

  return {
    element: make("div", {}, whole, make("div", { class: "frame" }, table)),
    update(next) {
      state = next;
      render();
    },
    /** Open all that a node is in. */
    reveal(node) {
      const parts = sheet.nodes[node][NAME].split(".");
      for (let i = 1; i < parts.length; i += 1) open.add(parts.slice(0, i).join("."));
    },
  };
}
