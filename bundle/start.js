// The entry of the bundle: what the client's settings say, as the command line of `capstan serve`. Plain JavaScript, so that an older
// Node gets as far as the sentence that says which one is needed.
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";

/** A client may leave the variable of a setting in place where the user has set nothing. */
const isSet = (value) => value !== "" && !/^\$\{user_config\.\w+\}$/.test(value);

const flags = { "--read": "--root", "--write": "--write" };
const options = [];
let flag;
for (const value of process.argv.slice(2)) {
  if (Object.hasOwn(flags, value)) {
    flag = flags[value];
  } else if (isSet(value)) {
    // Nothing but a folder comes from a setting: no other option of `serve`.
    if (flag === undefined || !isAbsolute(value)) {
      process.stderr.write(`A folder in Capstan's settings must be an absolute path, not ${JSON.stringify(value)}.\n`);
      process.exit(2);
    }
    options.push(`${flag}=${value}`);
  }
}

// An empty CAPSTAN_GRANT refuses, and here no token is a setting that was left out: so it has a name of its own until it is one.
const token = process.env.CAPSTAN_BUNDLE_TOKEN ?? "";
delete process.env.CAPSTAN_BUNDLE_TOKEN;
if (isSet(token)) process.env.CAPSTAN_GRANT = token;

const entry = new URL("node_modules/capstan/bin/capstan.js", import.meta.url);
process.argv = [process.execPath, fileURLToPath(entry), "serve", ...options];
await import(entry.href);
