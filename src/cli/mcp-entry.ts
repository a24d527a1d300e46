import { resolve } from "node:path";
import { CapstanError } from "../core/error.ts";
import { isBaseUrl } from "../host/config.ts";

/** What `capstan mcp add` is told of a server beside its command. */
export interface AddOptions {
  readonly url?: string;
  readonly header?: readonly string[];
  readonly env?: readonly string[];
  readonly bearerEnv?: string;
  readonly private?: boolean;
  /** False by `--no-prefix`. */
  readonly prefix?: boolean;
}

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** A token of RFC 9110, section 5.6.2. */
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * The entry of one server as it stands in the config, with nothing that is a default anyway, and what a person should hear of it.
 * Throws `usage.bad_option`; the text never holds a value that may be secret.
 */
export function toEntry(
  command: readonly string[],
  options: AddOptions,
): { readonly entry: Readonly<Record<string, unknown>>; readonly advice: readonly string[] } {
  const { url } = options;
  if ((url === undefined) === (command.length === 0)) {
    throw badOption(
      `A server is either a program or a URL, and ${url === undefined ? "neither" : "both"} came: ` +
        "capstan mcp add NAME -- COMMAND ARG…, or capstan mcp add NAME --url URL",
    );
  }
  const common = options.prefix === false ? { prefix: false } : {};
  if (url !== undefined) return { ...toRemote(url, options, common) };
  for (const [option, value] of Object.entries({
    header: options.header,
    "bearer-env": options.bearerEnv,
    private: options.private,
  })) {
    if (value !== undefined) throw badOption(`--${option} is for a server at a URL, and this one is a program.`);
  }
  const env = toPairs("--env", options.env, variableName);
  const [program = "", ...args] = command;
  if (program === "") throw badOption("The command is empty. Name a program after --.");
  const entry = {
    // What holds a slash is a path, and the server starts in another folder.
    command: /[/\\]/.test(program) ? resolve(program) : program,
    ...(args.length === 0 ? {} : { args }),
    ...(env.length === 0 ? {} : { env: Object.fromEntries(env) }),
    ...common,
  };
  return { entry, advice: toAdvice("--env", env) };
}

function toRemote(url: string, options: AddOptions, common: Readonly<Record<string, unknown>>) {
  if (!isBaseUrl(url)) throw badOption("--url must begin with http:// or https:// and hold no user and no password.");
  if (options.private !== true && URL.parse(url)?.protocol === "http:") {
    throw badOption("--url has no TLS. Use https://, or add --private for a server of your own network or machine.");
  }
  if (options.env !== undefined) throw badOption("--env is for a program, and this server is at a URL.");
  const headers = toPairs("--header", options.header, headerName);
  const { bearerEnv } = options;
  if (bearerEnv !== undefined && !variableName.test(bearerEnv)) {
    throw badOption("--bearer-env takes the name of an environment variable, not a token.");
  }
  if (bearerEnv !== undefined && headers.some(([name]) => name.toLowerCase() === "authorization")) {
    throw badOption("--bearer-env and --header Authorization say the same thing. Leave one out.");
  }
  const entry = {
    url,
    ...(headers.length === 0 ? {} : { headers: Object.fromEntries(headers) }),
    ...(bearerEnv === undefined ? {} : { auth: { type: "bearer", tokenEnv: bearerEnv } }),
    ...(options.private === true ? { private: true } : {}),
    ...common,
  };
  return { entry, advice: toAdvice("--header", headers) };
}

type Pair = readonly [name: string, value: string];

function toPairs(option: string, texts: readonly string[] = [], form: RegExp): readonly Pair[] {
  const seen = new Set<string>();
  return texts.map((text): Pair => {
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(at, 0));
    const value = text.slice(at + 1);
    // The text is not shown: the half that is missing may be the name, and the other one secret.
    if (!form.test(name)) throw badOption(`${option} takes NAME=VALUE with a lawful name; one of them has none.`);
    if (/[\r\n\0]/.test(value)) throw badOption(`The value of ${option} ${name} holds a line end or a zero byte.`);
    const key = option === "--header" ? name.toLowerCase() : name;
    if (seen.has(key)) throw badOption(`${option} names ${name} twice.`);
    seen.add(key);
    return [name, value];
  });
}

function toAdvice(option: string, pairs: readonly Pair[]): readonly string[] {
  return pairs.filter(looksSecret).map(([name]) => {
    const variable = name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, "_");
    return (
      `${name} looks like a secret and stands in the config as it is. Better keep it in Capstan's own environment: ` +
      `${option} '${name}=\${${variable}}'`
    );
  });
}

/** By its name or by its look. A value that refers to a variable holds no secret itself. */
function looksSecret([name, value]: Pair): boolean {
  if (value === "" || /\$\{[A-Za-z_]\w*\}/.test(value)) return false;
  return (
    /key|token|secret|passw|auth|credential|cookie/i.test(name) ||
    /^(?:sk-|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|AKIA|eyJ|Bearer |Basic )/.test(value) ||
    /^(?=.*\d)(?=.*[A-Za-z])[\w+=-]{32,}$/.test(value)
  );
}

function badOption(text: string): CapstanError {
  return new CapstanError("usage.bad_option", text);
}
