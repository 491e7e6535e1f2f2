// The live log: one EventSource a build.

import { get } from "/ui/api.js";

const EVENTS = ["lines", "build_starting", "build_running", "job_planned", "job_skipped", "job_started",
  "container_started", "step_started", "step_stopped", "job_stopped", "job_cancel_requested", "cancel_requested", "time_limit", "gap", "truncated",
  "group_started", "group_ended", "annotation", "end"];

const PAUSES = [500, 1000, 2000, 5000]; // milliseconds before each further attempt to connect; the last again and again

// The browser itself connects again where a connection breaks, but gives up for good at any answer other than 200, as
// from a proxy whose server restarts. Then we go on behind the last entry that was seen.
export function follow(build, after, { onLines, onChange, onRefused }) {
  let source, timer, last = after, failures = 0, left = false;

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
