// What workerd runs in `python -m tests.bench actors`: the counterpart of actors_node.py, call by call.
import { DurableObject } from "cloudflare:workers";

let rung = []; // when alarms ran: the objects and the Worker share one isolate
let serial = 0;
const value = () => String(++serial).padEnd(100, "v"); // all different: SQLite skips a page that stays as it was

export class Probe extends DurableObject {
  count = 0;

  ping() {
    return 1;
  }

  put() {
    this.ctx.storage.put("k" + (this.count++ % 1000), value());
  }

  puts(count) {
    for (let i = 0; i < count; i++) this.ctx.storage.put("k" + (this.count++ % 1000), value());
  }

  arm(at) {
    this.ctx.storage.setAlarm(at);
  }

  alarm() {
    rung.push(Date.now());
  }
}

/** `calls` calls to `actors` objects in turns, `callers` at a time; the seconds they took. */
async function load(stubs, { method, callers, calls, given = [] }) {
  const began = Date.now();
  let next = 0;
  const call = async () => {
    for (let i = next++; i < calls; i = next++) await stubs[i % stubs.length][method](...given);
  };
  await Promise.all(Array.from({ length: callers }, call));
  return (Date.now() - began) / 1000;
}

/** Alarms of all objects at one instant, `ahead` seconds from now: how many milliseconds late each was, or null when
 * setting them took longer than that. */
async function alarms(stubs, { ahead, limit }) {
  const due = Date.now() + ahead * 1000;
  await load(stubs, { method: "arm", callers: 64, calls: stubs.length, given: [due] });
  if (Date.now() >= due) return null;
  rung = [];
  await scheduler.wait(due - Date.now());
  while (rung.length < stubs.length && Date.now() < due + limit * 1000) await scheduler.wait(50);
  return rung.map((at) => at - due);
}

export default {
  async fetch(request, env) {
    const wanted = await request.json();
    const stub = (_, number) => env.PROBES.get(env.PROBES.idFromName(wanted.prefix + number));
    const stubs = Array.from({ length: wanted.actors ?? 0 }, stub);
    if (wanted.what === "load") return Response.json(await load(stubs, wanted));
    if (wanted.what === "alarms") return Response.json(await alarms(stubs, wanted));
    return Response.json(null);
  },
};
