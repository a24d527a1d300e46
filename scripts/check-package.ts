import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

/**
 * Builds and packs the package, installs it in an empty folder, and uses it there as a stranger would: the command, the library, its
 * types. Also what publint and attw say of it. Throws on the first thing that fails.
 */
const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "capstan-package-"));
const env = {
  ...process.env,
  CAPSTAN_HOME: join(folder, "home"),
  PATH: [dirname(process.execPath), process.env["PATH"]].join(delimiter),
};

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 240_000,
  });
}

function demand(found: string, wanted: string, what: string): void {
  if (!found.includes(wanted))
    throw new Error(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(found)}`);
}

try {
  const packed = run("npm", ["pack", "--silent", "--pack-destination", folder], root).trim().split("\n").at(-1) ?? "";
  const archive = join(folder, packed);
  run("publint", ["run", archive, "--strict"], root);
  run("attw", [archive, "--profile", "esm-only"], root);

  writeFileSync(join(folder, "package.json"), '{"name":"stranger","private":true,"type":"module"}\n');
  run("npm", ["install", "--no-audit", "--no-fund", "--silent", archive], folder);
  const capstan = join(folder, "node_modules", ".bin", "capstan");
  demand(run(capstan, ["run", "Add a todo to buy milk, then show me all my tasks"], folder), "buy milk", "capstan run");
  const js = '{"language":"typescript","code":"const n: number = 6 * 7; n"}';
  demand(run(capstan, ["tools", "call", "execute_code", js], folder), "42", "TypeScript in the sandbox");
  const py = '{"language":"python","code":"6 * 7"}';
  demand(run(capstan, ["tools", "call", "execute_code", py], folder), "42", "Python in the sandbox");
  // The programs inside are text made of functions, which a build could break.
  const engines = run(capstan, ["doctor"], folder).match(/^ok +(?:bubblewrap|docker)(?=:)/gm) ?? [];
  for (const engine of engines.map((line) => line.split(/ +/)[1] ?? "")) {
    const config = join(folder, `${engine}.yaml`);
    writeFileSync(config, `sandbox:\n  engines: [${engine}]\n`);
    for (const call of [js, py]) {
      const told = run(capstan, ["--config", config, "tools", "call", "execute_code", call], folder);
      demand(told, "42", `${call} in ${engine}`);
    }
  }

  writeFileSync(
    join(folder, "use.js"),
    'import { openApp, run } from "capstan";\nawait using app = await openApp({ home: process.env.CAPSTAN_HOME });\nconsole.log((await run(app, "calculate 6*7")).answer);\n',
  );
  demand(run(process.execPath, ["use.js"], folder), "42", "the library");
  console.log(`package: ${packed} works from an empty folder`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
