import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { dockerSocket, removeImage, testImage } from "../support/docker.ts";
import { describeWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";

test("sandbox build says what is missing where there is no Docker", async () => {
  await using home = await tempFolder();
  writeFileSync(join(home.path, "capstan.yaml"), "sandbox: { docker: { socket: /none.sock } }");
  const { code, stdout, stderr } = await capstan(home.path, ["sandbox", "build"]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^sandbox\.unavailable: .*There is no Docker at \/none\.sock\./m);
});

describeWith("docker")("sandbox build", () => {
  test("makes the image that the config names, and code runs in it", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const image = `capstan-test-build-${crypto.randomUUID()}`;
    writeFileSync(
      join(home.path, "capstan.yaml"),
      `sandbox: { engines: [docker], docker: { socket: ${dockerSocket}, image: ${image} } }`,
    );
    const sandbox = (...args: readonly string[]) => capstan(home.path, ["sandbox", ...args]);
    expect(await sandbox("build", home.path)).toMatchObject({ code: 2, stdout: "" });

    writeFileSync(join(folder.path, "Dockerfile"), `FROM ${await testImage()}\nCOPY greeting /\n`);
    const failed = await sandbox("build", folder.path);
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toContain("greeting");

    writeFileSync(join(folder.path, "greeting"), "hello from the image");
    const built = await sandbox("build", folder.path);
    expect(built).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) });
    const code = JSON.stringify({ language: "python", code: 'open("/greeting").read()' });
    const { stdout } = await capstan(home.path, ["tools", "call", "execute_code", code]);
    expect(stdout).toContain("hello from the image");

    const listed = JSON.parse((await sandbox("ls", "--json")).stdout);
    expect(listed).toContainEqual(expect.objectContaining({ id: built.stdout.trim(), names: [`${image}:latest`] }));
    expect((await sandbox("ls")).stdout).toMatch(new RegExp(`^sha256:\\w{12} .* MB {2}${image}:latest$`, "m"));
    await removeImage(image);
  });
});
