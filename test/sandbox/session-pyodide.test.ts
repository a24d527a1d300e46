import { openPython } from "./python.ts";
import { pythonSession } from "./session-snippets.ts";
import { describeSessions } from "./session.ts";

describeSessions("Python", openPython, pythonSession);
