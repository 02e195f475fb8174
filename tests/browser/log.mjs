// One line for each check, and below it what is wrong; a file's lines are printed together.

export class Log {
  constructor(file) {
    this.file = file;
    this.checks = this.failed = 0;
    this.lines = [];
  }

  /** A check passes where there are no problems. */
  check(name, problems) {
    this.checks += 1;
    this.failed += problems.length > 0;
    this.lines.push(`${problems.length ? "FAIL" : "ok  "} ${this.file}: ${name}`, ...problems.map((problem) => `       ${printable(problem)}`));
  }

  note(text) {
    this.lines.push(`note ${this.file}: ${printable(text)}`);
  }

  print() {
    console.log(this.lines.join("\n"));
  }
}

/** Reports hold strangers' text: nothing of it reaches the terminal's controls. */
const printable = (text) => text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => (c === "\n" ? " " : `\\u{${c.codePointAt(0).toString(16)}}`));
