// One build: its state, jobs and steps, the live log of each step, and what is found in it.

import { get, getText, post } from "/ui/api.js";
import { badge, caption, duration, element, lasting } from "/ui/dom.js";
import { Annotations, searchBox } from "/ui/findings.js";
import { follow } from "/ui/follow.js";
import { LogView } from "/ui/log.js";
import { markdown } from "/ui/markdown.js";

const POLL = 3; // seconds between two looks at a build that runs, beside what its log tells

export async function showBuild(id, { show, failed }) {
  const views = new Map(); // "job/step" -> its LogView and <details>
  const head = element("div");
  const jobs = element("div");
  const link = (first, last) => `#/builds/${id}#L${first}${last > first ? `-L${last}` : ""}`;
  const annotations = new Annotations(link);
  let build = await get(`/builds/${id}`);
  document.title = `${build.project} #${build.number} · buildsys`;
  show(head, annotations.node, searchBox(id, link), jobs);

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
  const logNotices = element("div");
  const seal = element("span", { class: "seal", hidden: true });
  head.append(
    element("div", { class: "head" },
      element("div", {}, element("h1", {}, build.title || build.workflow), caption(build, { linked: true })),
      element("div", { class: "actions" }, cancel, retry,
        element("a", { class: "button", href: `/api/v1/builds/${id}/logs?format=text`, target: "_blank", rel: "noopener" }, "Log as text"))),
    status, notices, logNotices);

  const draw = () => {
    const stopped = build.state === "stopped";
    const canceling = !stopped && Boolean(build.cancel_requested_at);
    cancel.hidden = stopped;
    retry.hidden = !stopped;
    cancel.disabled = canceling;
    cancel.textContent = canceling ? "Canceling…" : "Cancel";
    status.replaceChildren(badge(build), element("span", {}, duration(build.started_at ?? build.queued_at, build.stopped_at)),
      ...build.history.map((past) => element("span", {}, `${past.state} ${new Date(past.at).toLocaleTimeString()}`)), seal);
    notices.replaceChildren(
      build.waiting ? element("div", { class: "notice" }, build.waiting) : "",
      build.reason ? element("div", { class: `notice ${build.outcome ?? ""}` }, build.reason) : "");
    for (const job of build.jobs) drawJob(job);
    arrange(jobs, build.jobs.map((job) => jobCard(job.id).node));
  };

  const jobCard = (job) => {
    const key = `job-${job}`;
    if (!views.has(key)) {
      const card = { title: element("div", { class: "row" }), steps: element("div"), summaries: element("div"), node: element("div", { class: "card job" }) };
      card.node.append(card.title, card.steps, card.summaries);
      views.set(key, card);
    }
    return views.get(key);
  };

  const drawJob = (job) => {
    const card = jobCard(job.id), why = job.reason ?? job.waiting;
    card.title.replaceChildren(badge(job), element("div", {}, element("strong", {}, job.name), tolerated(job), why ? element("div", { class: "dim" }, why) : ""),
      element("div", { class: "dim", title: job.time_limit ? `It may take ${lasting(job.time_limit)}` : "" }, duration(job.started_at, job.stopped_at)));
    for (const step of job.steps) drawStep(job, step);
    arrange(card.steps, inOrder(job.steps).map((step) => stepView(job.id, step.number).node));
    const written = job.steps.filter((step) => step.summary);
    arrange(card.summaries, written.map((step) => summaryView(job.id, step)));
  };

  // What a step wrote for people; it is fetched once.
  const summaryView = (job, step) => {
    const key = `summary-${job}/${step.number}`;
    if (!views.has(key)) {
      const place = element("section", { class: "summary", "aria-label": `Summary of ${step.name}` });
      views.set(key, { place });
      const show = (text) => place.replaceChildren(element("div", { class: "dim" }, `Summary of ${step.name}`), markdown(text));
      getText(`/builds/${id}/summary?job=${encodeURIComponent(job)}&step=${step.number}`).then(show, () => views.delete(key));
    }
    return views.get(key).place;
  };

  const drawStep = (job, step) => {
    const view = stepView(job.id, step.number);
    view.node.classList.toggle("within", step.parent !== null);
    view.summary.replaceChildren(badge(step), element("span", {}, step.name, tolerated(step), step.exit_code ? element("span", { class: "dim" }, ` exit ${step.exit_code}`) : ""),
      element("span", { class: "dim" }, duration(step.started_at, step.stopped_at)));
    if (!view.touched) view.node.open = view.log.count > 0 && (step.state === "running" || step.outcome === "failed" || step.outcome === "errored" || (step.number > 0 && job.steps.length <= 3));
  };

  const stepView = (job, number) => {
    const key = `${job}/${number}`;
    if (!views.has(key)) {
      const load = (after, limit) => get(`/builds/${id}/logs?after=${after}&limit=${limit}&job=${encodeURIComponent(job)}&step=${number}`);
      const view = { log: new LogView({ load, link }), summary: element("summary"), touched: false };
      view.summary.addEventListener("click", () => { view.touched = true; });
      view.node = element("details", { class: "step" }, view.summary, view.log.node);
      view.node.addEventListener("toggle", () => view.log.draw());
      views.set(key, view);
      jobCard(job).steps.append(view.node);
    }
    return views.get(key);
  };

  let refreshing = null;
  const refresh = async () => {
    build = await get(`/builds/${id}`);
    draw();
  };
  const refreshSoon = () => {
    refreshing ??= setTimeout(() => { refreshing = null; refresh().catch((error) => error.passes || failed(error)); }, 60);
  };

  const take = (kind, data) => {
    const log = data.job && data.step !== null ? stepView(data.job, data.step).log : null;
    if (kind === "group_started") log?.openGroup(data.line, data.title ?? "");
    else if (kind === "group_ended") log?.closeGroup(data.line);
    else if (kind === "annotation") { annotations.add(data); log?.mark(data.line, data.level); }
    else if (kind === "end") prove();
  };

  // What is there already, but for the text: which lines are whose, and the events. Returns the last cursor.
  const readOutline = async () => {
    for (let after = 0; ;) {
      const outline = await get(`/builds/${id}/logs?outline=1&after=${after}`);
      for (const [first, last, job, step] of outline.runs) stepView(job, step).log.extend(first, last);
      for (const { cursor, kind, job, step, data } of outline.events) take(kind, { ...data, cursor, job, step });
      if (outline.end || outline.next === after) return outline;
      after = outline.next;
    }
  };

  const prove = async () => {
    const verdict = await get(`/builds/${id}/logs/verification`).catch(() => null);
    if (!verdict || verdict.state === "open") return;
    const details = { incomplete: `: ${verdict.missing.length} gap${verdict.missing.length === 1 ? "" : "s"}`, broken: `: at entry ${verdict.faults[0]?.cursor}` };
    seal.className = `seal ${verdict.state}`;
    seal.textContent = `log ${verdict.state}${details[verdict.state] ?? ""}`;
    seal.title = [...verdict.missing.map((each) => each.reason), ...verdict.faults.map((each) => each.problem)].join("\n");
    seal.hidden = false;
  };

  const goToLine = () => {
    const [, first, last] = location.hash.match(/#L(\d+)(?:-L(\d+))?$/)?.map(Number) ?? [];
    for (const view of views.values()) {
      const { log, node } = view;
      if (!log) continue;
      log.select(first ?? 0, first ? last || first : -1);
      if (!first || !log.holds(first)) continue;
      view.touched = true;
      node.open = true;
      log.reveal(first);
      node.scrollIntoView({ block: "nearest" });
    }
  };

  draw();
  let stopFollowing = () => {};
  try {
    const { next, end } = await readOutline();
    draw();
    goToLine();
    if (!end) {
      stopFollowing = follow(id, next, {
        onLines: (batch) => {
          const view = stepView(batch.job, batch.step);
          view.log.append(batch);
          if (!view.touched && !view.node.open) refreshSoon();
        },
        onChange: (kind, data) => { take(kind, data); refreshSoon(); },
        onRefused: failed,
      });
    }
  } catch (error) {
    if (error.status !== 410) throw error;
    logNotices.append(element("div", { class: "notice" }, error.message));
  }
  window.addEventListener("hashchange", goToLine);
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += 1;
    if (build.state === "stopped") return;
    if (build.state === "queued" || seconds % POLL === 0) refreshSoon();
    draw();
  }, 1000);
  return () => { stopFollowing(); window.removeEventListener("hashchange", goToLine); clearInterval(timer); clearTimeout(refreshing); };
}

const tolerated = (thing) => (thing.tolerated ? element("span", { class: "dim" }, " allowed to fail") : "");

// Puts the nodes into the place, and touches nothing where they stand there already.
function arrange(place, nodes) {
  if (nodes.length !== place.children.length || nodes.some((node, at) => place.children[at] !== node)) place.replaceChildren(...nodes);
}

// The steps, those of an action behind the step that uses it.
function inOrder(steps) {
  const known = new Map(steps.map((step) => [step.number, step]));
  const root = (step) => (known.has(step.parent) ? root(known.get(step.parent)) : step.number);
  return [...steps].sort((a, b) => root(a) - root(b) || a.number - b.number);
}
