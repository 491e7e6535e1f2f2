// A step's log. However long it is, only the lines around those in sight are in the page; others come as they are
// scrolled to. While its end is in sight, it stays so.

import { colored } from "/ui/ansi.js";
import { element } from "/ui/dom.js";
import { Lines } from "/ui/lines.js";

const ROW = 19; // pixels, as in style.css
const SPARE = 200; // rows above and below those in sight
const NEAR = 50; // so close to the last of them, others are drawn
const TALLEST = 8e6; // pixels: browsers have a limit; a longer log scrolls faster
const PAGE = 500; // lines that are asked for at once
const WIDEST = 5000; // characters that are shown of a line
const AGAIN = 2000; // milliseconds after which lines are asked for again that could not be had

export class LogView {
  #lines = new Lines();
  #marks = new Map(); // cursor -> level of its annotation
  #selected = [0, -1];
  #drawn = { first: 0, last: 0, version: -1 };
  #nodes = new Map(); // row nodes by what they show
  #pinned = true;
  #loading = false;
  #waiting = false;

  // `load(after, limit)` gets entries of the step, `link(first, last)` is a permanent link.
  constructor({ load, link }) {
    this.load = load;
    this.link = link;
    this.window = element("div", { class: "rows" });
    this.sheet = element("div", { class: "sheet" }, this.window);
    this.node = element("div", { class: "log", tabindex: "0", role: "log", onscroll: () => this.#scrolled() }, this.sheet);
  }

  get count() { return this.#lines.count; }

  extend(first, last) { this.#lines.extend(first, last); this.draw(); }

  append({ first, last, lines, partial }) {
    this.#lines.extend(first, last);
    lines.forEach((text, index) => this.#lines.put(first + index, text, partial && first + index === last));
    this.draw();
  }

  openGroup(cursor, title) { this.#lines.openGroup(cursor, title); this.draw(); }

  closeGroup(cursor) { this.#lines.closeGroup(cursor); this.draw(); }

  mark(cursor, level) { this.#marks.set(cursor, level); this.#lines.version += 1; this.draw(); }

  holds(cursor) { return this.#lines.holds(cursor); }

  select(first, last) { this.#selected = [first, last]; this.#lines.version += 1; this.draw(); }

  reveal(cursor) {
    this.#lines.reveal(cursor);
    this.#pinned = false;
    this.#draw();
    const view = this.node.clientHeight, total = this.#lines.rows * ROW;
    const top = Math.max(0, Math.min(this.#lines.rowOf(this.#lines.head(cursor)) * ROW - view / 3, total - view));
    this.node.scrollTop = total > TALLEST ? (top / (total - view)) * (TALLEST - view) : top;
    this.draw();
  }

  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    setTimeout(() => { this.#waiting = false; this.#draw(); }, 16);
  }

  #scrolled() {
    this.#pinned = this.node.scrollTop + this.node.clientHeight >= this.node.scrollHeight - 30;
    this.#draw();
  }

  #draw() {
    const lines = this.#lines, total = lines.rows * ROW, height = Math.min(total, TALLEST);
    this.sheet.style.height = `${height}px`;
    const view = this.node.clientHeight;
    if (!view) return;
    if (this.#pinned) this.node.scrollTop = this.node.scrollHeight;
    const scroll = Math.max(0, Math.min(this.node.scrollTop, height - view));
    const top = total > TALLEST ? (scroll / (height - view)) * (total - view) : scroll;
    const seen = [Math.floor(top / ROW), Math.min(lines.rows, Math.ceil((top + view) / ROW))];
    const drawn = this.#drawn;
    const near = (drawn.first === 0 || seen[0] >= drawn.first + NEAR) && (drawn.last === lines.rows || seen[1] <= drawn.last - NEAR);
    if (drawn.version !== lines.version || !near) {
      this.#drawn = { first: Math.max(0, seen[0] - SPARE), last: Math.min(lines.rows, seen[1] + SPARE), version: lines.version };
      this.#drawRows(seen[0]);
    }
    this.window.style.transform = `translateY(${scroll + this.#drawn.first * ROW - top}px)`;
  }

  #drawRows(seen) {
    const nodes = new Map(), missing = [];
    for (let row = this.#drawn.first; row < this.#drawn.last; row += 1) {
      const cursor = this.#lines.cursorAt(row);
      const { text, missing: wanted } = this.#lines.line(cursor, WIDEST), group = this.#lines.group(cursor);
      if (wanted) missing.push([row, wanted]);
      const parts = [...this.#lines.parts(cursor)];
      const mark = parts.map((part) => this.#marks.get(part)).find(Boolean);
      const chosen = parts.some((part) => part >= this.#selected[0] && part <= this.#selected[1]);
      const key = [cursor, text?.length, group?.folded, group?.last, mark, chosen].join();
      nodes.set(key, this.#nodes.get(key) ?? this.#row(cursor, { text, group, mark, chosen }));
    }
    this.#nodes = nodes;
    this.window.replaceChildren(...nodes.values());
    if (missing.length) this.#load((missing.find(([row]) => row >= seen) ?? missing[0])[1]);
  }

  #row(cursor, { text = "", group, mark, chosen }) {
    const number = element("a", { class: "n", href: this.link(cursor, cursor), "data-n": cursor, "aria-label": `Line ${cursor}`, onclick: (event) => this.#choose(event, cursor) });
    const content = group
      ? element("button", { class: "fold", "aria-expanded": String(!group.folded), onclick: () => { this.#lines.toggle(group); this.#pinned = false; this.#draw(); } }, ...colored(group.title))
      : element("span", {}, ...colored(text));
    return element("div", { class: `line${mark ? ` mark ${mark}` : ""}${chosen ? " chosen" : ""}`, "data-cursor": cursor }, number, content);
  }

  #choose(event, cursor) {
    const [first] = this.#selected;
    if (!event.shiftKey || !this.#lines.holds(first)) return;
    event.preventDefault();
    location.hash = this.link(Math.min(first, cursor), Math.max(first, cursor));
  }

  async #load(cursor) {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const { entries } = await this.load(cursor - 1, PAGE);
      const lines = entries.filter((entry) => entry.kind === "lines");
      if (lines[0]?.cursor !== cursor) this.#lines.put(cursor, "", false);
      for (const line of lines) this.#lines.put(line.cursor, line.text, line.partial);
      this.draw();
    } catch (error) {
      if (error.passes) setTimeout(() => this.draw(), AGAIN); // the next drawing asks again
      if (error.passes) this.#drawn.version = -1;
    } finally {
      this.#loading = false;
    }
  }
}
