// A step's summary, made of elements: nothing of it is ever parsed as HTML, and no image is fetched. Of Markdown it
// knows what summaries are made of; the rest, HTML as well, stands there as the text it is.

import { element } from "/ui/dom.js";

const LONGEST = 100_000; // characters of a summary that are shown in the page
const WIDEST = 4_000; // characters of a line that is looked into: what is longer stands there as it is
const DEEPEST = 4; // emphasis within emphasis

const FENCE = /^ {0,3}(```+|~~~+)/;
const HEADING = /^(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}([-*_])([ \t]*\1){2,}[ \t]*$/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)])[ \t]+(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const DIVIDER = /^[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const INLINE = /`([^`\n]{1,300})`|\*\*([^*\n]{1,300})\*\*|__([^_\n]{1,300})__|\*([^*\s][^*\n]{0,300})\*|~~([^~\n]{1,300})~~|(!?)\[([^\]\n]{0,300})\]\((https?:\/\/[^\s()<>]{1,1000})\)/g;

export function markdown(text) {
  const cut = text.length > LONGEST;
  const nodes = blocks((cut ? text.slice(0, LONGEST) : text).split(/\r\n?|\n/));
  return element("div", { class: "markdown" }, nodes, cut ? element("p", { class: "dim" }, "This is not all of it.") : null);
}

function blocks(lines) {
  const made = [];
  for (let at = 0; at < lines.length;) {
    const line = lines[at];
    const heading = line.match(HEADING);
    const from = at;
    if (!line.trim()) at += 1;
    else if (FENCE.test(line)) {
      const fence = line.match(FENCE)[1];
      at += 1;
      while (at < lines.length && !lines[at].trimStart().startsWith(fence)) at += 1;
      made.push(element("pre", {}, element("code", {}, lines.slice(from + 1, at).join("\n"))));
      at += 1;
    } else if (heading) { made.push(element(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2].replace(/[ \t]#+[ \t]*$/, "")))); at += 1; }
    else if (RULE.test(line)) { made.push(element("hr")); at += 1; }
    else if (QUOTE.test(line)) {
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      made.push(element("blockquote", {}, paragraph(lines.slice(from, at).map((each) => each.replace(QUOTE, "")))));
    } else if (ITEM.test(line)) {
      while (at < lines.length && ITEM.test(lines[at])) at += 1;
      made.push(list(lines.slice(from, at).map((each) => each.match(ITEM))));
    } else if (line.includes("|") && at + 1 < lines.length && lines[at + 1].length < WIDEST && DIVIDER.test(lines[at + 1])) {
      at += 2;
      while (at < lines.length && lines[at].includes("|")) at += 1;
      made.push(table(line, lines.slice(from + 2, at)));
    } else {
      while (at < lines.length && lines[at].trim() && (at === from || !begins(lines[at]))) at += 1;
      made.push(paragraph(lines.slice(from, at)));
    }
  }
  return made;
}

const begins = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((form) => form.test(line));

function paragraph(lines) {
  return element("p", {}, lines.flatMap((line, at) => (at ? [element("br"), ...inline(line)] : inline(line))));
}

// Items by how far they are indented; one that is further in than the one before is within it.
function list(items) {
  const root = element(/\d/.test(items[0][2]) ? "ol" : "ul");
  const open = [{ indent: items[0][1].length, node: root }];
  for (const [, space, mark, text] of items) {
    while (open.length > 1 && space.length < open.at(-1).indent) open.pop();
    if (space.length > open.at(-1).indent + 1 && open.at(-1).node.lastChild) {
      const inner = element(/\d/.test(mark) ? "ol" : "ul");
      open.at(-1).node.lastChild.append(inner);
      open.push({ indent: space.length, node: inner });
    }
    const box = text.match(/^\[([ xX])\][ \t]+(.*)$/);
    open.at(-1).node.append(element("li", {}, box ? [box[1] === " " ? "☐ " : "☑ ", ...inline(box[2])] : inline(text)));
  }
  return root;
}

function table(head, rows) {
  const cells = (line, tag) => line.trim().replace(/^\||\|$/g, "").split("|").slice(0, 100).map((cell) => element(tag, {}, inline(cell.trim())));
  return element("div", { class: "table" }, element("table", {},
    element("thead", {}, element("tr", {}, cells(head, "th"))),
    element("tbody", {}, rows.map((row) => element("tr", {}, cells(row, "td"))))));
}

function inline(text, depth = 0) {
  if (depth >= DEEPEST || text.length > WIDEST) return [text];
  const made = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, strong, strong2, soft, gone, image, words, address] = found;
    made.push(text.slice(end, found.index));
    const within = (tag, inner) => element(tag, {}, inline(inner, depth + 1));
    if (code !== undefined) made.push(element("code", {}, code));
    else if (strong ?? strong2) made.push(within("strong", strong ?? strong2));
    else if (soft) made.push(within("em", soft));
    else if (gone) made.push(within("s", gone));
    else made.push(element("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, words || (image ? "image" : address)));
    end = found.index + whole.length;
  }
  made.push(text.slice(end));
  return made.filter((each) => each !== "");
}
