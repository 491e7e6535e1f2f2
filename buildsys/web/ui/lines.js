// The lines of a step: where they stand in the log, which are folded away, and the texts that are at hand.

const KEPT = 20000; // texts that are remembered; others are asked for again

export class Lines {
  #runs = []; // {first, last, before}: neighbouring cursors, and how many lines of the step come before them
  #groups = []; // {first, last, title, folded}: cursors of the lines that begin and end it; `last` is null while it is open
  #hidden = []; // {from, to, before}: indexes that are folded away, and how many are before them
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
    this.version += 1;
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size <= KEPT) break;
      this.#texts.delete(oldest);
    }
  }

  text(cursor) {
    return this.#texts.get(cursor);
  }

  holds(cursor) {
    const run = this.#runs[lastAt(this.#runs, cursor, (each) => each.first)];
    return Boolean(run) && cursor <= run.last;
  }

  openGroup(first, title) {
    this.closeGroup(first - 1);
    this.#groups.push({ first, last: null, title, folded: true });
    this.#fold();
  }

  closeGroup(last) {
    const group = this.#groups.at(-1);
    if (group && group.last === null) group.last = Math.max(last, group.first);
    this.#fold();
  }

  group(cursor) {
    const group = this.#groups[lastAt(this.#groups, cursor, (each) => each.first)];
    return group?.first === cursor ? group : undefined;
  }

  toggle(group) {
    group.folded = !group.folded;
    this.#fold();
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

  #fold() { // an open group shows what comes
    this.#hidden = [];
    let before = 0;
    for (const { first, last, folded } of this.#groups) {
      const from = this.#indexOf(first) + 1;
      const to = last === null ? 0 : this.#indexOf(last);
      if (!folded || to < from) continue;
      this.#hidden.push({ from, to, before });
      before += to - from + 1;
    }
    this.version += 1;
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
