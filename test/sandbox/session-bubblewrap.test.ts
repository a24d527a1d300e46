import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import { describeWith } from "../support/machine.ts";
import { machinePythonSession, scriptSession } from "./session-snippets.ts";
import { describeSessions } from "./session.ts";

describeWith("bubblewrap")("in bubblewrap", () => {
  describeSessions("Python of the machine", () => openBubblewrapEngine(), machinePythonSession);
  describeSessions("Node of the machine", () => openBubblewrapEngine(), scriptSession);
});
