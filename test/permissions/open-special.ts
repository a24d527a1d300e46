// A process of its own for safe-path-attack.test.ts: if a walk hung at a pipe, nothing in the same process could end it.
import { toCapstanError } from "../../src/core/error.ts";
import { openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { byDescriptor, byPath } from "../../src/permissions/safe-path-place.ts";

const [method, folder = "", ...names] = process.argv.slice(2);
using root = openRoot(folder, { method: method === "paths" ? byPath : byDescriptor });
const results = names.map((name) => {
  try {
    using opened = openInside(root, name, { want: "any", symlinks: "deny" });
    return opened.kind;
  } catch (thrown) {
    return toCapstanError(thrown).code;
  }
});
process.stdout.write(JSON.stringify(results));
