import { CapstanError } from "../../../core/error.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What every program needs and none is told a secret by. */
const passed = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "SHELL", "TERM", "TMPDIR"];

/**
 * All of the environment of a server on stdio: a few variables of Capstan's own by name, and those of the config, which win. Throws
 * `mcp.variable_missing`.
 */
export function toServerEnvironment(
  server: string,
  given: Readonly<Record<string, string>>,
  env: Environment,
): Record<string, string> {
  const own = passed.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]));
  const set = Object.entries(given).map(
    ([name, text]) => [name, expandVariables(text, env, `mcp.servers.${server}.env.${name}`)] as const,
  );
  return Object.fromEntries([...own, ...set]);
}

/**
 * The text with each `${NAME}` replaced by that variable of `env`. `where` is the key of the config that holds the text. Throws
 * `mcp.variable_missing` for one that is not set, and for Capstan's own: its grants and its home are no server's business.
 */
export function expandVariables(text: string, env: Environment, where: string): string {
  return text.replace(/\$\{([A-Za-z_]\w*)\}/g, (_, name: string) => demandVariable(name, env, where));
}

/** The value of a variable that the config names. Throws `mcp.variable_missing`. */
export function demandVariable(name: string, env: Environment, where: string): string {
  const value = env[name];
  if (name.startsWith("CAPSTAN_")) {
    throw new CapstanError(
      "mcp.variable_missing",
      `${where} names ${name}, but no server gets a variable of Capstan's own. Use another one.`,
    );
  }
  if (value === undefined || value === "") {
    throw new CapstanError(
      "mcp.variable_missing",
      `${where} names the variable ${name}, which is not set. Set it where Capstan is started.`,
    );
  }
  return value;
}
