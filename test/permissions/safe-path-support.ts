import { text } from "node:stream/consumers";
import { test } from "vitest";
import { toCapstanError } from "../../src/core/error.ts";
import type { Root, WalkOptions } from "../../src/permissions/safe-path.ts";
import { openInside } from "../../src/permissions/safe-path.ts";
import type { Method } from "../../src/permissions/safe-path-place.ts";
import { byDescriptor, byPath } from "../../src/permissions/safe-path-place.ts";
import { openContent } from "../../src/permissions/safe-path-read.ts";
import { testWith } from "../support/machine.ts";

/** For `skipIf`: what needs descriptors or names of any bytes is skipped visibly, or fails where CAPSTAN_TEST_REQUIRE names it. */
export const notLinux = testWith("linux") === test.skip;

/** Both methods where both work, so that the weaker one is tested here too. */
export const methods: readonly Method[] = process.platform === "linux" ? [byDescriptor, byPath] : [byPath];

export const file: WalkOptions = { want: "file", symlinks: "deny" };

/** The content of a file below the root, or the code of the refusal. */
export async function read(root: Root, path: string, options: WalkOptions = file): Promise<string> {
  try {
    using opened = openInside(root, path, options);
    await using handle = await openContent(opened);
    return await text(handle.createReadStream({ autoClose: false }));
  } catch (thrown) {
    return toCapstanError(thrown).code;
  }
}

/** The refusal as a caller reads it, with the path that was asked for taken out. */
export function refusalOf(root: Root, path: string, options: WalkOptions = file): string {
  try {
    openInside(root, path, options)[Symbol.dispose]();
    return "opened";
  } catch (thrown) {
    const { code, message } = toCapstanError(thrown);
    return `${code}: ${message.replaceAll(path, "PATH")}`;
  }
}
