/** The guide, as a reader follows it: its commands, in order, in one shell. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import * as fs from 'node:fs';

/** The commands of a part of the guide: its code blocks between `<!-- tested: part -->` and the next mark. */
export function commands(readme: string, part: string): string {
  const text = fs.readFileSync(readme, 'utf8');
  const section = text.match(new RegExp(`<!-- tested: ${part} -->(.*?)<!-- tested -->`, 's'))?.[1];
  const blocks = [...(section ?? '').matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
  if (blocks.length === 0) throw new Error(`the guide has no part ${part}`);
  return blocks.join('\n');
}

/** A shell that remembers its variables from one part to the next, and ends with the first failure. */
export class Shell {
  private said = '';
  private readonly bash: ChildProcessWithoutNullStreams;

  constructor(folder: string, env: NodeJS.ProcessEnv) {
    this.bash = spawn('bash', ['--noprofile', '--norc'], { cwd: folder, env });
    this.bash.stdout.setEncoding('utf8').on('data', (text: string) => (this.said += text));
    this.bash.stderr.setEncoding('utf8').on('data', (text: string) => (this.said += text));
    this.bash.stdin.write('set -euo pipefail\n');
  }

  /** Runs commands, and answers what they said. */
  async run(script: string): Promise<string> {
    // A test that failed may have ended it, and nobody would ever answer.
    if (this.bash.exitCode !== null) throw new Error('the shell has ended with an earlier failure');
    this.said = '';
    const mark = `done-${Math.random()}`;
    const ended = new Promise<string>((resolve, reject) => {
      const exited = (code: number | null): void =>
        reject(new Error(`the shell ended with ${code} in\n${script}\n${this.said.slice(-4000)}`));
      this.bash.once('exit', exited);
      const look = (): void => {
        if (!this.said.includes(mark)) return;
        this.bash.stdout.off('data', look);
        this.bash.off('exit', exited);
        resolve(this.said.replace(`${mark}\n`, ''));
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
