import { CapstanError } from "../core/error.ts";
import { nearest } from "../core/nearest.ts";
import type { HttpServer, McpConfig } from "../host/mcp/config.ts";
import { guardedFetch } from "../host/mcp/guarded-fetch.ts";
import { openSignIn } from "../host/mcp/oauth/sign-in.ts";
import type { ExitCode, Session } from "./command.ts";
import { openInBrowser } from "./open-browser.ts";

/**
 * `capstan mcp login NAME`: signs in at a remote server, in the browser or with the client's own credentials, and keeps what it gets
 * in the home. What was kept before is replaced. Throws `usage.bad_option`, `mcp.*` and `config.*`.
 */
export async function login(session: Session, name: string): Promise<ExitCode> {
  session.demandOperator();
  const { app, signal, tell } = session;
  const { url, auth, private: isPrivate } = demandRemote(app.config.mcp, name);
  if (auth?.type === "bearer") {
    throw badOption(`${name} takes its token from the variable ${auth.tokenEnv}: there is nothing to sign in at.`);
  }
  const signIn = openSignIn({
    server: name,
    url,
    auth,
    isPrivate,
    home: app.home,
    user: app.principal.user,
    env: process.env,
    fetch: guardedFetch(isPrivate),
    openBrowser: async (address) => {
      tell(`Sign in at ${name} in your browser. If it does not open, go to:\n${address}`);
      await openInBrowser(address, process.env);
    },
    log: () => {},
  });
  const issuer = await signIn.renew(signal);
  tell(
    issuer === undefined
      ? `${name} asks for no sign-in.`
      : `Signed in at ${name}. Its authorization server is ${JSON.stringify(issuer)}.`,
  );
  return 0;
}

function demandRemote({ servers }: McpConfig, name: string): HttpServer {
  const server = Object.hasOwn(servers, name) ? servers[name] : undefined;
  if (server === undefined) {
    const like = nearest(name, Object.keys(servers));
    const hint = like === undefined ? "See which there are: capstan mcp ls" : `Did you mean ${like}?`;
    throw badOption(`No server ${JSON.stringify(name)} is in the config. ${hint}`);
  }
  if ("url" in server) return server;
  throw badOption(`${name} is a program on this machine: only a server at a URL is signed in at.`);
}

const badOption = (text: string): CapstanError => new CapstanError("usage.bad_option", text);
