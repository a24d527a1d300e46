/** Where the relay listens, inside. */
const port = 3128;
const proxy = `http://127.0.0.1:${port}`;

/** What programs inside find their way out by. Some read the upper case alone, curl of HTTP_PROXY the lower; Node must be told to look. */
export const relayEnvironment = {
  ...{ HTTP_PROXY: proxy, HTTPS_PROXY: proxy, http_proxy: proxy, https_proxy: proxy },
  ...{ NO_PROXY: "", no_proxy: "", NODE_USE_ENV_PROXY: "1" },
} as const;

/**
 * The command, inside a network namespace of its own, that runs what is appended to it with a way out: programs speak to proxies by TCP,
 * so it listens on the loopback there and carries each connection to the proxy's socket. `command` starts once it listens, with every
 * descriptor below `descriptors`; with its end all ends. Nothing rests on it: whoever takes it over reaches the same proxy.
 */
export function relayCommand(node: string, socketPath: string, descriptors: number): readonly string[] {
  const options = ["--no-warnings", "--max-old-space-size=64", "--max-semi-space-size=1"];
  return [node, ...options, "-e", relayProgram, "--", socketPath, String(port), String(descriptors)];
}

const relayProgram = `(${relay.toString()})();`;

/** Its source text is evaluated inside, so it refers to nothing outside of itself. */
function relay(): void {
  const { connect, createServer } = process.getBuiltinModule("node:net");
  const { spawn } = process.getBuiltinModule("node:child_process");
  const [socketPath = "", listenAt = "", descriptors = "", command = "", ...args] = process.argv.slice(1);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const out = connect({ path: socketPath, allowHalfOpen: true });
    const end = () => {
      client.destroy();
      out.destroy();
    };
    client.on("error", end).on("close", end).pipe(out);
    out.on("error", end).on("close", end).pipe(client);
  });
  server.on("listening", () => {
    const stdio = Array.from({ length: Number(descriptors) }, () => "inherit" as const);
    const child = spawn(command, args, { stdio });
    child.on("error", () => process.exit(127)).on("close", (code) => process.exit(code ?? 1));
  });
  // Without a way to the proxy, code would only hear of connections that break.
  const trial = connect(socketPath);
  trial.on("error", ({ message }) => {
    process.stderr.write(`The socket of the proxy can't be reached: ${message}\n`, () => process.exit(1));
  });
  trial.on("connect", () => {
    trial.destroy();
    server.listen(Number(listenAt), "127.0.0.1");
  });
}
