import { spawn } from "node:child_process";
import { once } from "node:events";

/** What shows a URL on each platform. None of them is a shell, and the URL is one argument. */
const openers: Readonly<Partial<Record<NodeJS.Platform, readonly [command: string, ...args: string[]]>>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};

/**
 * Shows a checked URL in the user's browser, which gets `env` without what is Capstan's own. False where no browser could be started; that one was started does not say that it shows
 * the page.
 */
export async function openInBrowser(url: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const [command, ...args] = openers[process.platform] ?? ["xdg-open"];
  const theirs = Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("CAPSTAN_")));
  const child = spawn(command, [...args, url], { env: theirs, shell: false, stdio: "ignore", detached: true });
  try {
    await once(child, "spawn");
  } catch {
    return false;
  }
  child.unref();
  return true;
}
