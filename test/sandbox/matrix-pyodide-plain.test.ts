import { describeMatrix } from "./matrix.ts";
import { alsoPlain, openPython } from "./python.ts";

// What reaches for the machine must fail behind the seal alone, too.
await describeMatrix({
  name: "pyodide without bubblewrap",
  engine: openPython({ bubblewrap: "never" }),
  classes: "ABCD",
  skip: !alsoPlain,
});
