// The builds of all projects or of one, and what a project's forge sent that built nothing.

import { get } from "/ui/api.js";
import { ago, badge, caption, duration, element } from "/ui/dom.js";

const IDLE = ["skipped", "failed"];

export async function showBuilds(project, { show, failed }) {
  document.title = `${project ?? "Builds"} · buildsys`;
  const { projects } = await get("/projects?limit=200");
  const list = element("div", { class: "card" });
  const idle = element("div");
  const more = element("button", { hidden: true, onclick: () => page(more.dataset.before).catch(stay) }, "Older builds");
  const hint = project ? `buildsys build start ${project}` : "buildsys project add";
  const stay = (error) => error.passes || failed(error);

  const page = async (before) => {
    const { builds, next } = await get(`/builds?limit=50${query("project", project)}${query("before", before)}`);
    const rows = builds.map(buildRow);
    if (before) list.append(...rows);
    else list.replaceChildren(...(rows.length ? rows : [element("div", { class: "empty" }, `No builds yet. Make some with “${hint}”.`)]));
    more.hidden = !next;
    more.dataset.before = next ?? "";
  };
  const lookAtDeliveries = async () => {
    const { deliveries } = await get(`/projects/${encodeURIComponent(project)}/deliveries`);
    const rows = deliveries.filter((each) => IDLE.includes(each.outcome)).slice(0, 20).map(deliveryRow);
    if (rows.length) idle.replaceChildren(element("h2", {}, "Deliveries that built nothing"), element("div", { class: "card" }, rows));
  };
  const refresh = () => Promise.all([page(), project ? lookAtDeliveries() : null]);

  const links = [[null, "All projects"], ...projects.map(({ name }) => [name, name])];
  show(element("h1", {}, "Builds"),
    element("nav", { class: "projects", "aria-label": "Projects" }, links.map(([name, text]) =>
      element("a", { href: name ? `#/projects/${encodeURIComponent(name)}` : "#/", "aria-current": name === project ? "page" : null }, text))),
    element("h2"), list, element("h2"), more, idle);
  await refresh();
  const timer = setInterval(() => { if (!document.hidden && list.children.length <= 50) refresh().catch(stay); }, 2000);
  return () => clearInterval(timer);
}

function buildRow(build) {
  return element("a", { class: "row", href: `#/builds/${build.id}` },
    badge(build),
    element("div", {}, element("div", { class: "title" }, build.title || build.workflow), caption(build)),
    element("div", { class: "dim" }, build.started_at ? `${duration(build.started_at, build.stopped_at)} · ` : "", ago(build.queued_at)));
}

function deliveryRow(delivery) {
  return element("div", { class: "row" },
    badge(delivery),
    element("div", {}, element("div", {}, delivery.reason ?? ""), element("div", { class: "dim" }, `${delivery.event} · ${delivery.delivery}`)),
    element("div", { class: "dim" }, ago(delivery.received_at)));
}

const query = (name, value) => (value ? `&${name}=${encodeURIComponent(value)}` : "");
