// The page: sign in, the builds, one build with its live log. Everything it knows comes from the public API.

import { ApiError, call, get, post } from "/ui/api.js";
import { ago, badge, duration, element } from "/ui/dom.js";
import { LogView, follow } from "/ui/log.js";

const main = document.getElementById("main");
const logout = document.getElementById("logout");
let leave = () => {}; // stops what the shown page keeps going

function show(...nodes) {
  main.replaceChildren(...nodes);
}

async function route() {
  leave();
  leave = () => {};
  const build = location.hash.match(/^#\/builds\/([0-9a-f-]{36})$/)?.[1];
  try {
    await (build ? showBuild(build) : showBuilds());
    logout.hidden = false;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) showLogin();
    else show(element("div", { class: "notice error" }, error.message));
  }
}

function showLogin() {
  logout.hidden = true;
  const problem = element("div", { class: "dim", role: "alert" });
  const token = element("input", { type: "password", name: "token", autocomplete: "current-password", placeholder: "bst_…", "aria-label": "Token", required: true });
  const form = element("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await call("POST", "/login", { token: token.value.trim() });
        await route();
      } catch (error) {
        problem.textContent = error.status === 401 ? "This token is not valid." : error.message;
      }
    },
  }, element("h1", {}, "Sign in"), element("div", { class: "dim" }, "With an API token. “buildsys up” says where the first one is."), token, element("button", { class: "primary" }, "Sign in"), problem);
  show(element("div", { class: "card login" }, form));
  token.focus();
}

async function showBuilds() {
  document.title = "Builds · buildsys";
  const list = element("div", { class: "card" });
  const more = element("button", { hidden: true, onclick: () => page(more.dataset.before) }, "Older builds");
  const page = async (before) => {
    const { builds, next } = await get(`/builds?limit=50${before ? `&before=${encodeURIComponent(before)}` : ""}`);
    const rows = builds.map((build) => element("a", { class: "row", href: `#/builds/${build.id}` },
      badge(build),
      element("div", {}, element("div", { class: "title" }, build.title || build.workflow), caption(build)),
      element("div", { class: "dim" }, build.started_at ? `${duration(build.started_at, build.stopped_at)} · ` : "", ago(build.queued_at))));
    if (before) list.append(...rows);
    else list.replaceChildren(...(rows.length ? rows : [element("div", { class: "empty" }, "No builds yet. Add a project with “buildsys project add”.")]));
    more.hidden = !next;
    more.dataset.before = next ?? "";
    return builds;
  };
  show(element("h1", {}, "Builds"), element("div", { class: "dim" }, "Newest first"), element("h2"), list, element("h2"), more);
  await page();
  const timer = setInterval(() => { if (!document.hidden && list.children.length <= 50) page().catch(route); }, 2000);
  leave = () => clearInterval(timer);
}

function caption(build) {
  return element("div", { class: "dim" }, `${build.project} #${build.number}`, build.attempt > 1 ? ` (attempt ${build.attempt})` : "",
    ` · ${build.branch} · `, element("span", { class: "mono" }, build.commit.slice(0, 8)), ` · ${build.workflow}`);
}

async function showBuild(id) {
  const views = new Map(); // "job/step" -> its LogView and <details>
  const head = element("div");
  const jobs = element("div");
  let build = await get(`/builds/${id}`);
  document.title = `${build.project} #${build.number} · buildsys`;
  show(head, jobs);

  const act = (verb) => async (event) => {
    event.target.disabled = true;
    try {
      const changed = await post(`/builds/${id}/${verb}`);
      if (verb === "retry") location.hash = `#/builds/${changed.id}`;
      else await refresh();
    } catch (error) {
      event.target.disabled = false;
      notices.append(element("div", { class: "notice error" }, error.message));
    }
  };

  // The buttons stay the same ones whatever is drawn again: a click on one that was just replaced would be lost.
  const cancel = element("button", { class: "danger", onclick: act("cancel") }, "Cancel");
  const retry = element("button", { onclick: act("retry") }, "Run again");
  const status = element("div", { class: "history dim" });
  const notices = element("div");
  head.append(
    element("div", { class: "head" },
      element("div", {}, element("h1", {}, build.title || build.workflow), caption(build)),
      element("div", { class: "actions" }, cancel, retry,
        element("a", { class: "button", href: `/api/v1/builds/${id}/logs?format=text`, target: "_blank", rel: "noopener" }, "Log as text"))),
    status, notices);

  const draw = () => {
    const stopped = build.state === "stopped";
    const canceling = !stopped && Boolean(build.cancel_requested_at);
    cancel.hidden = stopped;
    retry.hidden = !stopped;
    cancel.disabled = canceling;
    cancel.textContent = canceling ? "Canceling…" : "Cancel";
    status.replaceChildren(badge(build), element("span", {}, duration(build.started_at ?? build.queued_at, build.stopped_at)),
      ...build.history.map((past) => element("span", {}, `${past.state} ${new Date(past.at).toLocaleTimeString()}`)));
    notices.replaceChildren(
      build.waiting ? element("div", { class: "notice" }, build.waiting) : "",
      build.reason ? element("div", { class: `notice ${build.outcome ?? ""}` }, build.reason) : "");
    for (const job of build.jobs) drawJob(job);
  };

  const drawJob = (job) => {
    const key = `job-${job.id}`;
    let card = views.get(key);
    if (!card) {
      card = { title: element("div", { class: "row" }), node: element("div", { class: "card job" }) };
      card.node.append(card.title);
      views.set(key, card);
      jobs.append(card.node);
    }
    card.title.replaceChildren(badge(job), element("div", {}, element("strong", {}, job.name), job.reason ? element("div", { class: "dim" }, job.reason) : ""),
      element("div", { class: "dim" }, duration(job.started_at, job.stopped_at)));
    for (const step of job.steps) drawStep(job, step);
  };

  const drawStep = (job, step) => {
    const view = stepView(job.id, step.number);
    view.summary.replaceChildren(badge(step), element("span", {}, step.name, step.exit_code ? element("span", { class: "dim" }, ` exit ${step.exit_code}`) : ""),
      element("span", { class: "dim" }, duration(step.started_at, step.stopped_at)));
    if (!view.touched) view.node.open = view.log.count > 0 && (step.state === "running" || step.outcome === "failed" || step.outcome === "errored" || (step.number > 0 && job.steps.length <= 3));
  };

  const stepView = (job, number) => {
    const key = `${job}/${number}`;
    if (!views.has(key)) {
      const view = { log: new LogView(), summary: element("summary"), touched: false };
      view.summary.addEventListener("click", () => { view.touched = true; });
      view.node = element("details", { class: "step" }, view.summary, view.log.node);
      views.set(key, view);
      views.get(`job-${job}`).node.append(view.node);
    }
    return views.get(key);
  };

  let refreshing = null;
  const refresh = async () => {
    build = await get(`/builds/${id}`);
    draw();
  };
  const refreshSoon = () => { refreshing ??= setTimeout(() => { refreshing = null; refresh().catch(route); }, 60); };

  draw();
  const stopFollowing = follow(id, (batch) => {
    const view = stepView(batch.job, batch.step);
    view.log.append(batch.lines, batch.partial);
    if (!view.touched && !view.node.open) refreshSoon();
  }, refreshSoon);
  const timer = setInterval(() => { if (build.state === "queued") refreshSoon(); else if (build.state !== "stopped") draw(); }, 1000);
  leave = () => { stopFollowing(); clearInterval(timer); clearTimeout(refreshing); };
}

logout.addEventListener("click", async () => { await call("POST", "/logout").catch(() => {}); leave(); showLogin(); });
window.addEventListener("hashchange", route);
route();
