// The live log: one EventSource a build, a section a step. Long logs keep their end; the whole is one link away.

import { get } from "/ui/api.js";
import { element } from "/ui/dom.js";
import { colored } from "/ui/ansi.js";

const BLOCK = 400; // lines in one <pre>: the browser lays out only those in sight
const KEPT = 60000; // lines kept in the page for each step

const EVENTS = ["lines", "build_starting", "build_running", "job_started", "container_started", "step_started",
  "step_stopped", "job_stopped", "cancel_requested", "time_limit", "gap", "end"];

const PAUSES = [500, 1000, 2000, 5000]; // milliseconds before each further attempt to connect; the last again and again

// The browser itself connects again where a connection breaks, but gives up for good at any answer other than 200, as
// from a proxy whose server restarts. Then we go on behind the last entry that was seen.
export function follow(build, { onLines, onChange, onRefused }) {
  let source, timer, last = "0", failures = 0, left = false;

  const open = () => {
    source = new EventSource(`/api/v1/builds/${build}/logs?after=${last}`);
    source.addEventListener("open", () => { failures = 0; });
    source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) openAgain(); });
    for (const kind of EVENTS) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId;
        const data = JSON.parse(event.data);
        if (kind === "lines") onLines(data);
        else onChange(kind, data);
        if (kind === "end") source.close();
      });
    }
  };

  const openAgain = () => {
    const pause = PAUSES[Math.min(failures, PAUSES.length - 1)];
    failures += 1;
    timer = setTimeout(async () => {
      try {
        await get(`/builds/${build}`); // an EventSource does not tell why it was refused
        if (!left) open();
      } catch (error) {
        if (!left) (error.passes ? openAgain : onRefused)(error);
      }
    }, pause * (0.75 + Math.random() / 2));
  };

  open();
  return () => { left = true; clearTimeout(timer); source.close(); };
}

export class LogView {
  constructor() {
    this.node = element("div", { class: "log", tabindex: "0", role: "log" });
    this.count = 0;
    this.open = false; // the last line has no newline yet
  }

  append(lines, partial) {
    const pinned = this.node.scrollTop + this.node.clientHeight >= this.node.scrollHeight - 30;
    for (const line of lines) {
      let block = this.node.lastElementChild;
      if (!block || block.tagName !== "PRE" || (block.lines >= BLOCK && !this.open)) {
        block = element("pre");
        block.lines = 0;
        this.node.append(block);
      }
      if (block.lines && !this.open) block.append("\n");
      block.append(...colored(line));
      if (!this.open) { block.lines += 1; this.count += 1; }
      this.open = false;
    }
    this.open = Boolean(partial);
    this.#trim();
    if (pinned) this.node.scrollTop = this.node.scrollHeight;
  }

  #trim() {
    while (this.count > KEPT) {
      const first = this.node.querySelector("pre");
      this.count -= first.lines;
      first.remove();
      if (!this.node.querySelector(".dim")) {
        this.node.prepend(element("div", { class: "dim" }, "The beginning is not shown here; open the whole log as text."));
      }
    }
  }
}
