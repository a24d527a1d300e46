import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeMatrix } from "./matrix.ts";

await describeMatrix({ name: "quickjs", engine: openQuickjsEngine() });
