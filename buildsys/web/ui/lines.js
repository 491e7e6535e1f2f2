// The lines of a step: where they stand in the log, which are folded away, and the texts that are at hand. A line that
// stayed open came in parts, each with a cursor of its own; where that is known, it is one line, at its first cursor.

const KEPT = 20000; // texts that are remembered; others are asked for again

export class Lines {
  #runs = []; // {first, last, before}: neighbouring cursors, and how many lines of the step come before them
  #groups = []; // {first, last, title, folded}: cursors of the lines that begin and end it; `last` is null while it is open
  #parts = new Set(); // cursors that go on with the line before them
  #folded = null; // what #hidden gives, until it changes
  #texts = new Map(); // cursor -> {text, partial}
  count = 0;
  version = 0; // of what is to be seen

  extend(first, last) {
    const run = this.#runs.at(-1);
    if (run && first <= run.last) return; // seen before
    if (run && first === run.last + 1) run.last = last;
    else this.#runs.push({ first, last, before: this.count });
    this.count += last - first + 1;
    this.version += 1;
  }

  put(cursor, text, partial) {
    this.#texts.set(cursor, { text, partial });
    if (this.#texts.get(this.#next(cursor, -1))?.partial) this.#join(cursor);
    if (partial && this.#next(cursor, 1)) this.#join(this.#next(cursor, 1));
    this.version += 1;
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size <= KEPT) break;
      this.#texts.delete(oldest);
    }
  }

  // The cursors of the parts of the line that begins at one.
  * parts(cursor) {
    do {
      yield cursor;
      cursor = this.#next(cursor, 1);
    } while (this.#parts.has(cursor));
  }

  // The text of such a line, no more than is shown; or the cursor of a part that is not at hand.
  line(cursor, widest) {
    let text = "";
    for (const part of this.parts(cursor)) {
      const known = this.#texts.get(part);
      if (!known) return { missing: part };
      text += known.text;
      if (text.length > widest) return { text: `${text.slice(0, widest)}…` };
    }
    return { text };
  }

  // Where the line begins that a cursor is a part of.
  head(cursor) {
    while (this.#parts.has(cursor)) cursor = this.#next(cursor, -1);
    return cursor;
  }

  holds(cursor) {
    const run = this.#runs[lastAt(this.#runs, cursor, (each) => each.first)];
    return Boolean(run) && cursor <= run.last;
  }

  openGroup(first, title) {
    this.closeGroup(first - 1);
    this.#groups.push({ first, last: null, title, folded: true });
    this.#changed();
  }

  closeGroup(last) {
    const group = this.#groups.at(-1);
    if (group && group.last === null) group.last = Math.max(last, group.first);
    this.#changed();
  }

  group(cursor) {
    const group = this.#groups[lastAt(this.#groups, cursor, (each) => each.first)];
    return group?.first === cursor ? group : undefined;
  }

  toggle(group) {
    group.folded = !group.folded;
    this.#changed();
  }

  reveal(cursor) {
    const group = this.#groups[lastAt(this.#groups, cursor, (each) => each.first)];
    if (group?.folded && cursor > group.first && cursor <= (group.last ?? 0)) this.toggle(group);
  }

  get rows() {
    const last = this.#hidden.at(-1);
    return this.count - (last ? last.before + last.to - last.from + 1 : 0);
  }

  cursorAt(row) {
    const hidden = this.#hidden[lastAt(this.#hidden, row, (each) => each.from - each.before)];
    const index = row + (hidden ? hidden.before + hidden.to - hidden.from + 1 : 0);
    const run = this.#runs[lastAt(this.#runs, index, (each) => each.before)];
    return run.first + index - run.before;
  }

  rowOf(cursor) {
    const index = this.#indexOf(cursor);
    const hidden = this.#hidden[lastAt(this.#hidden, index, (each) => each.from)];
    return hidden ? Math.max(hidden.from, index - (hidden.to - hidden.from + 1)) - hidden.before : index;
  }

  #indexOf(cursor) { // of a cursor between the step's lines: of the last one before it
    const run = this.#runs[lastAt(this.#runs, cursor, (each) => each.first)];
    return run ? run.before + Math.min(cursor, run.last) - run.first : 0;
  }

  // The cursor of the step's line before or behind one, if there is one.
  #next(cursor, way) {
    const at = lastAt(this.#runs, cursor, (each) => each.first), run = this.#runs[at], next = cursor + way;
    if (run && next >= run.first && next <= run.last) return next;
    return way > 0 ? this.#runs[at + 1]?.first : this.#runs[at - 1]?.last;
  }

  #join(cursor) {
    if (this.#parts.has(cursor)) return;
    this.#parts.add(cursor);
    this.#changed();
  }

  #changed() {
    this.#folded = null;
    this.version += 1;
  }

  // {from, to, before}: indexes that are not to be seen, and how many are before them.
  get #hidden() { // an open group shows what comes, and a group's title is always there
    if (this.#folded) return this.#folded;
    const ranges = [];
    for (const { first, last, folded } of this.#groups) {
      if (folded && last !== null) ranges.push([this.#indexOf(first) + 1, this.#indexOf(last)]);
    }
    for (const part of this.#parts) {
      if (!this.group(part)) ranges.push([this.#indexOf(part), this.#indexOf(part)]);
    }
    const hidden = [];
    let before = 0;
    for (const [from, to] of ranges.sort(([a], [b]) => a - b)) {
      const last = hidden.at(-1), start = Math.max(from, (last?.to ?? -1) + 1);
      if (to < start) continue;
      if (last && start === last.to + 1) last.to = to;
      else hidden.push({ from: start, to, before });
      before += to - start + 1;
    }
    return this.#folded = hidden;
  }
}

// The place of the last element whose key is at most `key`, in an array that is sorted by it; -1 where there is none.
function lastAt(array, key, keyOf) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keyOf(array[middle]) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
