import { appendFileSync } from "node:fs";
import { registerHooks } from "node:module";

// What a test registers with `node --import`: the address of each module that is loaded goes into a file.
const file = process.env["LOADED"] ?? "";
registerHooks({
  load(url, context, next) {
    appendFileSync(file, `${url}\n`);
    return next(url, context);
  },
});
