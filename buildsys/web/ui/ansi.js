// Turns a line with SGR colour sequences into nodes; every other control sequence is dropped.

const SEQUENCE = /\x1b\[([0-9;]*)m|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;

export const plain = (text) => text.replace(SEQUENCE, "");

export function colored(line) {
  const text = line.slice(line.lastIndexOf("\r", line.length - 2) + 1); // a progress bar shows its last state
  const nodes = [];
  let style = new Set();
  let at = 0;
  const add = (piece) => {
    if (!piece) return;
    if (!style.size) { nodes.push(piece); return; }
    const span = document.createElement("span");
    span.className = [...style].join(" ");
    span.textContent = piece;
    nodes.push(span);
  };
  for (const found of text.matchAll(SEQUENCE)) {
    add(text.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[1] !== undefined) style = styled(style, found[1]);
  }
  add(text.slice(at));
  return nodes;
}

function styled(style, codes) {
  const next = new Set(style);
  const dropColor = () => { for (const name of [...next]) if (/^f\d$/.test(name)) next.delete(name); };
  for (const code of codes.split(";").map(Number)) {
    if (code === 0) next.clear();
    else if (code === 1) next.add("b");
    else if (code === 3) next.add("i");
    else if (code === 4) next.add("u");
    else if (code === 22) next.delete("b");
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) { dropColor(); next.add(`f${code % 10}`); }
    else if (code === 39) dropColor();
    else if (code === 38 || code === 48) break; // 256 and true colours keep the text's own colour
  }
  return next;
}
