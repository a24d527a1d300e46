import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { describeMatrix } from "./matrix.ts";

await describeMatrix({ name: "bubblewrap", engine: openBubblewrapEngine() });
