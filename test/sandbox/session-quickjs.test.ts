import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { scriptSession } from "./session-snippets.ts";
import { describeSessions } from "./session.ts";

describeSessions("JavaScript", openQuickjsEngine, scriptSession);
