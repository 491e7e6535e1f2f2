// Makes elements. Text is always text: nothing here ever parses HTML.

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function badge(thing) {
  const word = thing.outcome ?? thing.state;
  return element("span", { class: `badge ${word}` }, word.replace("_", " "));
}

export function duration(from, to) {
  if (!from) return "";
  return lasting(Math.max(0, (to ? new Date(to) : new Date()) - new Date(from)) / 1000);
}

export function lasting(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function ago(at) {
  const seconds = (Date.now() - new Date(at)) / 1000;
  for (const [size, name] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return `${count} ${name}${count > 1 ? "s" : ""} ago`;
  }
  return "just now";
}

export function caption(build, { linked = false } = {}) {
  const project = linked ? element("a", { href: `#/projects/${encodeURIComponent(build.project)}` }, build.project) : build.project;
  const commit = build.commit ? [` · ${build.branch} · `, element("span", { class: "mono" }, build.commit.slice(0, 8))] : [];
  return element("div", { class: "dim" }, project, ` #${build.number}`, build.attempt > 1 ? ` (attempt ${build.attempt})` : "",
    ...commit, ` · ${build.workflow}`);
}
