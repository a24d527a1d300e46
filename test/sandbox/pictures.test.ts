import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { expect, test } from "vitest";
import { bin, environment } from "../support/capstan.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { describeWith, has } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";

/** A client of a server that runs code as `sandbox` in the config says. */
async function connect(sandbox: object) {
  await using opened = new AsyncDisposableStack();
  const home = opened.use(await tempFolder());
  writeFileSync(join(home.path, "capstan.yaml"), JSON.stringify({ sandbox }));
  const client = new Client({ name: "test", version: "1" });
  opened.defer(() => client.close());
  const args = [bin, "--home", home.path, "serve"];
  await client.connect(
    new StdioClientTransport({ command: process.execPath, args, env: { ...environment }, stderr: "ignore" }),
  );
  const owned = opened.move();
  return {
    client,
    run: (code: string, over: object = {}) =>
      client.callTool({ name: "execute_code", arguments: { language: "python", code, ...over } }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const link = (name: string) => expect.objectContaining({ type: "resource_link", name, mimeType: "image/png" });
const picture = { type: "image", mimeType: "image/png", data: expect.stringMatching(/^iVBORw0KGgo/) };

describeWith("matplotlib")("a picture that matplotlib drew", () => {
  test.for([
    ["bubblewrap", async () => ({})],
    ["docker", async () => ({ docker: { socket: dockerSocket, image: await testImage({ draws: true }) } })],
  ] as const)("arrives from %s as a picture, saved or left open", async ([engine, more], { skip }) => {
    skip(!has(engine), `There is no ${engine} here.`);
    await using server = await connect({ engines: [engine], ...(await more()) });
    const drawn = await server.run(
      `
import matplotlib.pyplot as plt
plt.plot([1, 4, 9])
plt.savefig("line.png")
plt.figure()
plt.bar(["a", "b"], [2, 3])
plt.tight_layout()
plt.show()
plt.close(plt.figure())`,
      { session: "plots" },
    );
    expect(drawn.structuredContent).toMatchObject({ status: "ok", stderr: "" });
    const [text, ...files] = drawn.content;
    expect(text?.type).toBe("text");
    expect(files).toEqual([picture, picture, link("figure-1.png"), link("line.png")]);
    const [, shown, , linked] = files;
    if (shown?.type !== "image" || linked?.type !== "resource_link") throw new Error("They have other types.");
    const { contents } = await server.client.readResource({ uri: linked.uri });
    expect(contents).toMatchObject([{ mimeType: "image/png", blob: shown.data }]);

    // What was shown is not shown again.
    const next = await server.run("plt.figure().gca().hist([1, 1, 2])\nplt.get_fignums()", { session: "plots" });
    expect(next.structuredContent).toMatchObject({ status: "ok", result: [1, 2] });
    expect(next.content.slice(1)).toEqual([picture, link("figure-2.png")]);

    // OpenBLAS reserves more than the code may take, for each thread anew.
    const inverse = `
import numpy
from concurrent.futures import ThreadPoolExecutor
matrix = numpy.random.rand(300, 300)
len(list(ThreadPoolExecutor(4).map(lambda _: numpy.linalg.inv(matrix), range(4))))`;
    const inverted = await server.run(inverse, { memoryMb: 64 });
    expect(inverted.structuredContent).toMatchObject({ status: "ok", result: 4 });
  });
});
