// What workerd runs in `python -m tests.bench logs`: a log as one Durable Object, a row a line, followed over
// server-sent events as ours are. A batch is shown to followers once it is durable.
import { DurableObject } from "cloudflare:workers";

const encoder = new TextEncoder();
const words = ["compiling", "linking", "src/store/records.c", "warning:", "unused", "test_archive", "ok", "-O2", "passed"];
const filling = (n) => (words[n % 9] + " " + words[(n * 7) % 9] + " " + String(n * 2654435761).repeat(8)).slice(0, 86);
const numbered = (first, count) =>
  Array.from({ length: count }, (_, i) => String(first + i).padStart(12, "0") + " " + filling(first + i));

export class Probe extends DurableObject {
  last = 0;
  followers = new Set();
  ready = [];

  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)");
  }

  prepare({ lines, batch }) {
    for (let first = 1; first <= lines; first += batch) this.ready.push(numbered(first, Math.min(batch, lines - first + 1)));
  }

  async append() {
    for (const lines of this.ready) await this.add(lines);
    this.ready = [];
  }

  async add(lines) {
    const first = this.last + 1;
    for (const text of lines) this.ctx.storage.sql.exec("INSERT INTO lines VALUES (?, ?)", ++this.last, text);
    const last = this.last;
    await this.ctx.storage.sync();
    this.tell(last, "lines", { first, last, job: "only", step: 1, lines });
  }

  end() {
    this.tell(++this.last, "end", { cursor: this.last });
  }

  tell(id, kind, data) {
    const event = encoder.encode(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
    for (const follower of this.followers) follower.write(event).catch(() => this.followers.delete(follower));
  }

  text() {
    return this.ctx.storage.sql.exec("SELECT text FROM lines ORDER BY number").toArray().map((row) => row.text).join("\n");
  }

  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname.endsWith("/text")) return new Response(this.text() + "\n");
    const { readable, writable } = new TransformStream();
    const follower = writable.getWriter();
    follower.write(encoder.encode("retry: 1000\n\n"));
    this.followers.add(follower);
    return new Response(readable, { headers: { "Content-Type": "text/event-stream" } });
  }
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const stub = (name) => env.PROBES.get(env.PROBES.idFromName(name));
    if (pathname.startsWith("/logs/")) return stub(pathname.split("/")[2]).fetch(request);
    const { what, name, ...wanted } = await request.json();
    if (what === undefined) return Response.json(null);
    const began = Date.now();
    if (what === "add") await stub(name).add(wanted.lines);
    else await stub(name)[what](wanted);
    return Response.json((Date.now() - began) / 1000);
  },
};
