import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { promisify } from "node:util";
import { z } from "zod";

/** The socket of the daemon that tests use: that of DOCKER_HOST, else the usual one. */
export const dockerSocket = (process.env["DOCKER_HOST"] ?? "unix:///var/run/docker.sock").replace(/^unix:\/\//, "");

const docker = (...args: readonly string[]) => promisify(execFile)("docker", ["-H", `unix://${dockerSocket}`, ...args]);

const library = "/usr/lib";
/** What scripts of tests use, `mount` and `su` for their set-user-id bits. */
const programs =
  "awk basename bash cat chmod cp cut date dd dirname echo env find grep head id kill ln ls mkdir mkfifo mknod mount mv nohup ps pwd rm sed seq setsid sh sleep sort stat su tail tar timeout touch tr truncate unshare wc xargs yes".split(
    " ",
  );

/** Draws, and tells what that loaded: packages with what they read, and libraries. */
const drawing = `
import json, os, sys, matplotlib.pyplot as pyplot
pyplot.plot([1])
pyplot.savefig(os.devnull, format="png")
packages = "/usr/lib/python3/dist-packages/"
loaded = [module.__file__ for module in sys.modules.values() if (getattr(module, "__file__", None) or "").startswith(packages)]
folders = {packages + path[len(packages) :].split("/")[0] for path in loaded}
print(json.dumps([[*folders, pyplot.matplotlib.get_data_path(), pyplot.matplotlib.matplotlib_fname()], [path for path in loaded if path.endswith(".so")]]))
`;

/**
 * The name of an image with this machine's own Python, Node and bash, made without a registry where the daemon has none: 2 s. Its name
 * changes with the machine's programs. `draws`: it has the machine's matplotlib too.
 */
export async function testImage({ draws = false } = {}): Promise<string> {
  const python = realpathSync("/usr/bin/python3");
  const pythonLibrary = `${library}/${python.slice(python.lastIndexOf("/") + 1)}`;
  const node = realpathSync(process.execPath);
  const hash = createHash("sha256").update(
    `${programs.join()} ${node} ${process.version} ${python} ${tell(python, "--version")} ${draws}`,
  );
  const image = `capstan-test:${hash.digest("hex").slice(0, 16)}`;
  const isThere = await docker("image", "inspect", image).then(
    () => true,
    () => false,
  );
  if (isThere) return image;
  const modules = readdirSync(`${pythonLibrary}/lib-dynload`).map((name) => `${pythonLibrary}/lib-dynload/${name}`);
  const binaries = [python, "/usr/bin/python3", ...programs.map((name) => `/usr/bin/${name}`)].filter(existsSync);
  const [packages, extensions] = draws ? Loaded.parse(JSON.parse(tell(python, "-I", "-c", drawing))) : [[], []];
  const libraries = new Set([node, ...binaries, ...modules, ...extensions].flatMap(librariesOf));
  const without = ["test", "tests", "__pycache__", "config-*", "lib2to3"].map((name) => `--exclude=${name}`);
  const files = [node, pythonLibrary, ...packages, ...binaries, ...libraries].map((path) => path.slice(1));
  const rename = `--transform=s,^${node.slice(1)}$,usr/local/bin/node,`;
  const pack = ["tar", "-C", "/", "-ch", ...without, rename, ...files];
  const unpack = ["docker", "-H", `unix://${dockerSocket}`, "import"];
  const environment = ["--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin"];
  const quoted = (words: readonly string[]) => words.map((word) => `'${word}'`).join(" ");
  const script = `set -o pipefail; ${quoted(pack)} | ${quoted([...unpack, ...environment, "-", image])}`;
  await promisify(execFile)("bash", ["-c", script]);
  return image;
}

const tell = (python: string, ...args: readonly string[]): string =>
  execFileSync(python, args, { encoding: "utf8", env: { MPLBACKEND: "agg" } });

const Loaded = z.tuple([z.array(z.string()), z.array(z.string())]);

function librariesOf(binary: string): readonly string[] {
  try {
    const said = execFileSync("ldd", [binary], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return [...said.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].flatMap(([, path]) => path ?? []);
  } catch {
    // It is linked to nothing.
    return [];
  }
}

/** Removes an image that a test made. */
export async function removeImage(image: string): Promise<void> {
  await docker("image", "rm", "--force", image);
}
