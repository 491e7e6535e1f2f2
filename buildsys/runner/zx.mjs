// The `$` of zx, and nothing else of it, for scripts where only node is: `const files = await $`ls -la ${folder}``.
// A value is one word of the command, a list as many as it has items. Output is kept, not shown.
import { spawn } from 'node:child_process';
import { inspect } from 'node:util';

class ProcessOutput extends Error {
  constructor(command, exitCode, signal, output) {
    super(`${command}: ${signal ?? `exit code ${exitCode}`}\n${output.stderr}`);
    Object.assign(this, { exitCode, signal, ...output });
  }
  toString() {
    return (this.stdout + this.stderr).trimEnd();
  }
  [inspect.custom]() {
    return this.exitCode === 0 ? this.toString() : this.message;
  }
}

// Node would show the place in this file where it was thrown.
process.on('uncaughtException', (error) => {
  console.error(error);
  process.exit(1);
});

function word(value) {
  if (Array.isArray(value)) return value.map(word).join(' ');
  const text = value instanceof ProcessOutput ? value.stdout.trimEnd() : String(value);
  return `'${text.replaceAll("'", "'\\''")}'`;
}

globalThis.$ = (pieces, ...values) => {
  const command = pieces.reduce((text, piece, index) => text + word(values[index - 1]) + piece);
  return new Promise((resolve, reject) => {
    const shell = spawn('bash', ['-euo', 'pipefail', '-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      shell[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
    }
    shell.on('error', reject);
    shell.on('close', (code, signal) => {
      const ended = new ProcessOutput(command, code, signal, output);
      (code === 0 ? resolve : reject)(ended);
    });
  });
};
