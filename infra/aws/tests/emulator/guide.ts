/** Runs the guide's commands as a reader would: in order, in one shell. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import * as fs from 'node:fs';

/** The shell blocks between `<!-- tested: part -->` and the next mark. */
export function commands(readme: string, part: string): string {
  const text = fs.readFileSync(readme, 'utf8');
  const section = text.match(new RegExp(`<!-- tested: ${part} -->(.*?)<!-- tested -->`, 's'))?.[1];
  const blocks = [...(section ?? '').matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
  if (blocks.length === 0) throw new Error(`the guide has no commands for ${part}`);
  return blocks.join('\n');
}

/** A shell that keeps its variables between calls and exits at the first failure. */
export class Shell {
  private output = '';
  private readonly bash: ChildProcessWithoutNullStreams;

  constructor(folder: string, env: NodeJS.ProcessEnv) {
    this.bash = spawn('bash', ['--noprofile', '--norc'], { cwd: folder, env });
    this.bash.stdout.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.bash.stderr.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.bash.stdin.write('set -euo pipefail\n');
  }

  /** Runs commands and returns their output. */
  async run(script: string): Promise<string> {
    // After an earlier failure the shell has exited, and this call would wait forever.
    if (this.bash.exitCode !== null) throw new Error('the shell exited after an earlier failure');
    this.output = '';
    const mark = `done-${Math.random()}`;
    const ended = new Promise<string>((resolve, reject) => {
      const exited = (code: number | null): void =>
        reject(
          new Error(`the shell exited with ${code} in\n${script}\n${this.output.slice(-4000)}`),
        );
      this.bash.once('exit', exited);
      const look = (): void => {
        if (!this.output.includes(mark)) return;
        this.bash.stdout.off('data', look);
        this.bash.off('exit', exited);
        resolve(this.output.replace(`${mark}\n`, ''));
      };
      this.bash.stdout.on('data', look);
    });
    this.bash.stdin.write(`${script}\necho ${mark}\n`);
    return ended;
  }

  end(): void {
    this.bash.stdin.end();
  }
}
