import { writeSync } from "node:fs";
import { z } from "zod";
import { launch, openPinsAt } from "./pins-support.ts";

// A process that uses the pins of a folder: `node pins-child.ts FOLDER JOB WORDS`, words being JSON. Answers one line of JSON.
const [folder = "", job, text = "[]"] = process.argv.slice(2);
const words = z.array(z.string()).parse(JSON.parse(text));
await using opened = await openPinsAt(folder);

/** Approves each of the published names. */
async function approve(): Promise<number> {
  const done = await Promise.all(words.map((name) => opened.pins.approve(name)));
  return done.flat().length;
}

/** Starts the server with these arguments for the first time. */
async function load(): Promise<boolean> {
  return (await opened.pins.load("notes", { ...launch, args: words })).isLaunchBlocked;
}

writeSync(1, `${JSON.stringify(job === "approve" ? await approve() : await load())}\n`);
