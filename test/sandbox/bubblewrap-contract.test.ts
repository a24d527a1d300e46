import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { describeWith } from "../support/machine.ts";
import { describeEngine } from "./conformance.ts";
import { pythonSnippets, scriptSnippets } from "./snippets.ts";

describeWith("bubblewrap")("in bubblewrap", () => {
  describeEngine("Python of the machine", () => openBubblewrapEngine(), pythonSnippets);
  describeEngine("Node of the machine", () => openBubblewrapEngine(), scriptSnippets);
});
