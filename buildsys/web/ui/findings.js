// What is found in a log: the annotations of its build, and what one searches for. Each leads to its line.

import { plain } from "/ui/ansi.js";
import { get } from "/ui/api.js";
import { element } from "/ui/dom.js";

const SHOWN = 100; // annotations
const LEVELS = ["error", "warning", "notice"];

export class Annotations {
  constructor(link) {
    this.link = link;
    this.counts = {};
    this.title = element("h2");
    this.list = element("div", { class: "card" });
    this.node = element("section", { class: "annotations", hidden: true, "aria-label": "Annotations" }, this.title, this.list);
  }

  add(data) {
    if (!LEVELS.includes(data.level)) return;
    this.node.hidden = false;
    this.counts[data.level] = (this.counts[data.level] ?? 0) + 1;
    this.title.textContent = LEVELS.filter((level) => this.counts[level]).map((level) => `${this.counts[level]} ${level}${this.counts[level] > 1 ? "s" : ""}`).join(", ");
    if (this.list.children.length >= SHOWN) return;
    const place = data.file ? `${data.file}${data.file_line ? `:${data.file_line}` : ""}` : "";
    this.list.append(element("a", { class: "row", href: this.link(data.line, data.line) },
      element("span", { class: `badge ${data.level}` }, data.level),
      element("div", {}, data.title ? element("strong", {}, `${data.title} `) : "", data.message ?? ""),
      element("span", { class: "dim mono" }, place)));
  }
}

export function searchBox(build, link) {
  const input = element("input", { type: "search", name: "q", placeholder: "Search the log", "aria-label": "Search the log", required: true, maxlength: 1000 });
  const regex = element("input", { type: "checkbox", name: "regex" });
  const hits = element("div", { class: "card hits", hidden: true });
  const said = element("div", { class: "dim", role: "status" });
  const more = element("button", { type: "button", hidden: true, onclick: () => search(more.dataset.after) }, "Search on");
  let mine = 0;

  const search = async (after) => {
    const visit = (mine += 1);
    if (!after) hits.replaceChildren();
    said.textContent = "Searching…";
    more.hidden = true;
    try {
      const found = await get(`/builds/${build}/logs?q=${encodeURIComponent(input.value)}&ignore_case=1&regex=${regex.checked ? 1 : 0}${after ? `&after=${after}` : ""}`);
      if (visit !== mine) return;
      hits.append(...found.hits.map((hit) => hitRow(hit, link)));
      hits.hidden = !hits.children.length;
      more.hidden = !found.stopped;
      more.dataset.after = found.next;
      said.textContent = `${hits.children.length || "No"} matching line${hits.children.length === 1 ? "" : "s"}${found.stopped ? " so far" : ""}`;
    } catch (error) {
      if (visit === mine) said.textContent = error.message;
    }
  };
  const form = element("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); search(null); } },
    input, element("label", {}, regex, " RE2"), element("button", {}, "Search"));
  return element("section", {}, form, said, hits, more);
}

function hitRow(hit, link) {
  const text = [...hit.text], shown = [hit.before ? "…" : ""]; // spans count characters, not UTF-16
  const part = (begin, end) => plain(text.slice(begin, end).join(""));
  let at = 0;
  for (const [begin, end] of hit.matches) {
    shown.push(part(at, begin), element("mark", {}, part(begin, end)));
    at = end;
  }
  shown.push(part(at), hit.behind ? "…" : "");
  return element("a", { class: "hit mono", href: link(hit.cursor, hit.cursor) }, element("span", { class: "n", "data-n": hit.cursor }), element("span", {}, ...shown));
}
