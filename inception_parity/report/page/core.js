// Small things that all parts use: elements, numbers as text, what a verdict looks like.
"use strict";

/** Return an element; attributes that are functions become listeners. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return an SVG element. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const LARGEST = 1e300; // stands for infinity

/** Return a number in two digits: 1.9e-14, as on the terminal. */
function sci(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0";
  if (Math.abs(number) >= LARGEST) return "∞";
  const [digits, power] = number.toExponential(1).split("e");
  return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

/** Return a number as short as it can be read well. */
function plain(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  if (size >= LARGEST) return "∞";
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? sci(number) : String(+number.toPrecision(4));
}

const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

// A point is a list; these are the places in it.
const VERDICT = 0, GUILTY = 1, REL = 2, FLOOR = 3, FLOORS = 4, MAX_ABS = 5, ULP = 6, APART = 7,
  SQNR = 8, WORST = 9, PROBLEM = 10;
// A node is a list, too.
const NAME = 0, KIND = 1, LEAF = 2, SHAPE = 3, INPUTS = 4;
const IDENTICAL = 0, ROUNDING = 1, UNJUDGED = 2, SUSPICIOUS = 3, WRONG = 4;

/** Return how bad a point is, to be compared: guilty above wrong above suspicious and so on. */
function badness(point) {
  if (!point) return -1;
  return point[VERDICT] + (point[GUILTY] ? 5 : 0);
}

/** Return the look of a point: its class, its sign, and words for those who see neither. */
function look(point, limits, dtype) {
  if (!point) return { name: "none", sign: "–", words: "not run" };
  if (point[GUILTY]) {
    return { name: "guilty", sign: "◆", words: point[VERDICT] === WRONG ? "wrong, starts here" : "suspicious, starts here" };
  }
  switch (point[VERDICT]) {
    case WRONG: return { name: "wrong", sign: "✗", words: "wrong, carried on" };
    case SUSPICIOUS: return { name: "suspicious", sign: "?", words: "suspicious" };
    case UNJUDGED: return { name: "unjudged", sign: "·", words: "shown, not judged" };
    case IDENTICAL: return { name: "identical", sign: "=", words: "bit-identical" };
  }
  const part = dtype === "float64" ? point[REL] / limits.float64 : point[FLOORS] / limits.floors;
  const step = part < 1e-3 ? 1 : part < 0.1 ? 2 : part < 0.5 ? 3 : 4;
  return { name: `agree${step}`, sign: "✓", words: "agrees to rounding" };
}

const LOOKS = [
  ["identical", "=", "bit-identical"],
  ["agree1", "✓", "rounding, far below the limit"],
  ["agree3", "✓", "rounding, nearer to the limit"],
  ["suspicious", "?", "suspicious: up to four limits"],
  ["wrong", "✗", "wrong, carried on"],
  ["guilty", "◆", "where an error starts"],
];

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
