import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { describeWith } from "../support/machine.ts";
import { bashCodeMode, describeCodeMode, pythonCodeMode, scriptCodeMode } from "./code-mode.ts";

describeWith("bubblewrap")("in bubblewrap", () => {
  describeCodeMode("Python of the machine", () => openBubblewrapEngine(), pythonCodeMode);
  describeCodeMode("Node of the machine", () => openBubblewrapEngine(), scriptCodeMode);
  describeCodeMode("Bash of the machine", () => openBubblewrapEngine(), bashCodeMode);
});
