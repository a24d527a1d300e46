import { Argument, Command, Option } from "commander";
import type { ExitCode, Globals, Session } from "./command.ts";
import { withApp } from "./command.ts";
import { version } from "../version.ts";

const list = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** The options of every command that acts under the operator's own grant. */
function withGrantFlags(command: Command): Command {
  return command
    .option("--root <dir>", "let this folder be read, with all below it (repeatable)", list)
    .option("--write <dir>", "let this folder be written (repeatable)", list)
    .option("--allow <tool>", "allow a tool beyond the default (repeatable)", list)
    .option("--as <name>", "act under a named grant");
}

/** The options of what a model does. */
function withModelOptions(command: Command): Command {
  return command
    .option("--model <provider:name>", "such as planner or openai:NAME (default: from the config, else planner)")
    .option("--base-url <url>", "where an openai-compatible model is served")
    .option("--agent <name>", "an agent of the config or the store: its instructions, model, tools and limits")
    .option("--var <name=value>", "a variable in the agent's instructions (repeatable)", list)
    .option("--continue", "go on with the conversation of the newest run")
    .option("--conversation <id>", "go on with this conversation, or with that of a run, or begin one of this name")
    .option("--max-turns <n>", "at most this many turns of the model")
    .option("--max-cost <usd>", "at most this much, in US dollars")
    .option("--timeout <duration>", "at most this long: 90s, 15m")
    .option("--temperature <n>", "how freely the model answers, 0 to 2")
    .option("--max-tokens <n>", "the most tokens of one answer")
    .addOption(
      new Option("--reasoning <effort>", "how much the model thinks first").choices(["off", "low", "medium", "high"]),
    )
    .option("--yes", "approve what the grant marks, unasked; never a call after untrusted content came in");
}

const toJsonl = (): Option =>
  new Option("--jsonl", "print each event as a line of JSON while it happens").conflicts("json");

function withRightsOptions(command: Command): Command {
  return command
    .option("--allow <tool>", 'a tool, or a pattern such as "kg_*" (repeatable)', list)
    .option("--read <dir>", "a folder that may be read (repeatable)", list)
    .option("--write <dir>", "a folder that may be written (repeatable)", list)
    .option("--host <url>", "an origin that may be reached, such as https://api.example.com (repeatable)", list)
    .option("--resource <uri>", "a resource, with all below it, such as capstan://artifacts/ (repeatable)", list)
    .option("--prompt <name>", 'a prompt, or a beginning of names such as "github__*" (repeatable)', list)
    .option("--language <name>", "a language that execute_code may run (repeatable)", list)
    .option("--isolation <level>", "the weakest level that code may run at, such as os-sandbox")
    .option("--session <name>", "a session of execute_code, or * for any of its own (repeatable)", list)
    .option("--ask <tool>", "ask a person before each call of this tool (repeatable)", list)
    .option("--tainted <tool>", "don't ask for this tool because untrusted content came in (repeatable)", list)
    .option("--approve <tool>", 'let the holder approve calls of this tool, or of "kg_*" (repeatable)', list)
    .option("--calls <n>", "at most this many calls")
    .option("--tokens <n>", "at most this many tokens of models")
    .option("--cost-usd <amount>", "at most this much for models")
    .option("--cpu <duration>", "at most this much processor time of code, in all")
    .option("--time <duration>", "at most this much running time, in all")
    .option("--bytes <n>", "at most this many bytes of results")
    .option("--memory-mb <n>", "at most this much memory for each run of code")
    .option("--depth <n>", "at most this many levels of calls inside calls")
    .option("--parallel <n>", "at most this many calls at a time")
    .option("--ttl <duration>", "how long it lives: 90s, 15m, 2h, 7d")
    .option("--name <name>", "keep it in the home under this name instead of printing a token");
}

/** Every command, with nothing imported that a command does not need. `done` gets the exit code. */
export function toProgram(done: (code: ExitCode) => void): Command {
  const program = new Command("capstan")
    .description("A harness that people trust to let a language model act.")
    .version(version)
    .option("--home <dir>", "the folder of keys, config and state (default: CAPSTAN_HOME or ~/.capstan)")
    .option("--config <file>", "a config file other than capstan.yaml in the home")
    .option("--grant <token>", "run the command under this token: the text, @FILE or - for stdin")
    .option("--verbose", "show the trace of an error")
    .enablePositionalOptions()
    .showHelpAfterError("(add --help for the options)");
  const globals = (): Globals => program.opts<Globals>();
  const inApp = async (command: (session: Session) => Promise<ExitCode>): Promise<void> =>
    done(await withApp(globals(), command));

  withGrantFlags(program.command("serve").description("serve MCP on stdin and stdout, or over HTTP"))
    .option("--http <[host:]port>", "over HTTP, at /mcp; each request presents a token (default host: 127.0.0.1)")
    .addOption(
      new Option(
        "--discovery <tools>",
        "which tools to list: all, those that find the others, or by their size",
      ).choices(["all", "search", "auto"]),
    )
    .action((options) => inApp(async (session) => (await import("./serve.ts")).serve(session, options)));

  withModelOptions(withGrantFlags(program.command("run <task>").description("do a task and print the answer")))
    .option("--image <file>", "a picture that goes with the task (repeatable)", list)
    .option("--schema <file|json>", "print JSON of this JSON Schema as the answer, or fail")
    .option("--dry-run", "show what the run would be, and start nothing")
    .option("--json", "print the whole outcome as JSON")
    .addOption(toJsonl().conflicts("dryRun"))
    .action((task: string, options) =>
      inApp(async (session) => (await import("./run.ts")).runTask(session, task, options)),
    );

  withModelOptions(withGrantFlags(program.command("chat").description("talk with a model that has the tools"))).action(
    (options) => inApp(async (session) => (await import("./chat.ts")).chat(session, options)),
  );

  const runs = program.command("runs").description("look at runs and go on with them");
  runs
    .command("ls")
    .description("the newest runs")
    .option("--limit <n>", "how many", "20")
    .option("--json", "as JSON")
    .action((options) => inApp(async (session) => (await import("./runs.ts")).listRuns(session, options)));
  runs
    .command("show <run>")
    .description("a run as a timeline")
    .option("--explain [turn]", "what each answer came from: context, tools, scores and cost")
    .option("--json", "its events as JSON")
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs.ts")).showRun(session, run, options)),
    );
  withGrantFlags(runs.command("resume <run>").description("go on where its log ends"))
    .option("--yes", "approve what the grant marks, unasked; never a call after untrusted content came in")
    .option("--json", "print the whole outcome as JSON")
    .addOption(toJsonl())
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs.ts")).resumeRun(session, run, options)),
    );
  withGrantFlags(
    runs.command("approve <run> <call>").description("let one waiting call happen, exactly as it stands"),
  ).action((run: string, call: string, options) =>
    inApp(async (session) => (await import("./runs.ts")).approveCall(session, run, call, options)),
  );
  withGrantFlags(runs.command("deny <run> <call>").description("refuse one waiting call"))
    .option("--reason <text>", "what the model reads")
    .action((run: string, call: string, options) =>
      inApp(async (session) => (await import("./runs.ts")).denyCall(session, run, call, options)),
    );
  withGrantFlags(runs.command("cancel <run>").description("end a run for good, also one that waits for a person"))
    .option("--reason <text>", "why, for the record")
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs.ts")).cancelRun(session, run, options)),
    );
  runs
    .command("export <run>")
    .description("a run, with those that it goes on from, as JSON lines")
    .option("-o, --output <file>", "write it to a new file")
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs-log.ts")).exportRun(session, run, options)),
    );
  runs
    .command("import <file>")
    .description("take in an exported run, to look at it and to go on from it")
    .option("--name <name>", "what its taint is called (default: the name of the file)")
    .action((file: string, options) =>
      inApp(async (session) => (await import("./runs-log.ts")).importRun(session, file, options)),
    );
  withGrantFlags(runs.command("fork <run>").description("go on from one of its events as another run"))
    .requiredOption("--at <n>", "the last event that is kept, by its number in `runs show`")
    .option("--message <text>", "what the user says after that, or instead of it")
    .option("--result <call=json>", "what a call of a tool came to, in place of its result (repeatable)", list)
    .option("--model <provider:name>", "another model")
    .option("--base-url <url>", "where it is served")
    .option("--max-turns <n>", "at most this many turns, those before the fork counted")
    .option("--max-cost <usd>", "at most this much, what came before the fork counted")
    .option("--timeout <duration>", "at most this long, what came before the fork counted")
    .option("--no-run", "begin it, print its id and leave it")
    .option("--yes", "approve what the grant marks, unasked; never a call after untrusted content came in")
    .option("--json", "print the whole outcome as JSON")
    .addOption(toJsonl())
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs-log.ts")).forkRun(session, run, options)),
    );
  runs
    .command("replay <run>")
    .description("decide it anew by today's code, performing nothing, and show the first difference")
    .option("--json", "as JSON")
    .action((run: string, options) =>
      inApp(async (session) => (await import("./runs-log.ts")).replayRun(session, run, options)),
    );
  runs
    .command("verify <run> [file]")
    .description("whether anybody changed its log, and whether a file that was exported holds it")
    .option("--json", "as JSON")
    .action((run: string, file: string | undefined, options) =>
      inApp(async (session) => (await import("./runs-log.ts")).verifyRun(session, run, file, options)),
    );

  const agents = program.command("agents").description("the named agents of the config and of the store");
  agents
    .command("ls")
    .description("all of them, with the newest version of each that was used or saved")
    .option("--json", "as JSON")
    .action((options) => inApp(async (session) => (await import("./agents.ts")).listAgents(session, options)));
  agents
    .command("show <name>")
    .description("one of them, as `agents set` takes it")
    .option("--version <n>", "in this version (default: the newest)")
    .option("--json", "as JSON")
    .action((name: string, options) =>
      inApp(async (session) => (await import("./agents.ts")).showAgent(session, name, options)),
    );
  agents
    .command("set <file>")
    .description("keep the agent that a YAML or JSON file holds, with its name, as its next version")
    .action((file: string) => inApp(async (session) => (await import("./agents.ts")).setAgent(session, file)));
  agents
    .command("rm <name>")
    .description("take the name of a kept agent away; its versions stay")
    .action((name: string) => inApp(async (session) => (await import("./agents.ts")).removeAgent(session, name)));

  const tools = program.command("tools").description("the tools behind the door");
  withGrantFlags(tools.command("ls").description("what this grant may call"))
    .option("--json", "with schemas, as JSON")
    .action((options) => inApp(async (session) => (await import("./tools.ts")).listTools(session, options)));
  withGrantFlags(tools.command("call <name> [arguments]").description("call a tool with arguments as JSON"))
    .option("--json", "print the whole MCP result")
    .action((name: string, args: string | undefined, options) =>
      inApp(async (session) => (await import("./tools.ts")).callTool(session, name, args, options)),
    );
  tools
    .command("diff [name]")
    .description("what servers changed and is blocked for that: of all, of a server or of a tool")
    .option("--json", "as JSON")
    .action((name: string | undefined, options) =>
      inApp(async (session) => (await import("./tools-diff.ts")).diffTools(session, name, options)),
    );
  tools
    .command("approve <name>")
    .description("let what a server, or one of its tools, changed be used")
    .option("--yes", "without being asked")
    .action((name: string, options) =>
      inApp(async (session) => (await import("./tools-diff.ts")).approveTools(session, name, options)),
    );

  const mcp = program.command("mcp").description("the MCP servers in the config");
  mcp
    .command("add <name> [command...]")
    .description("put a server into the config: NAME -- COMMAND ARG…, or NAME --url URL")
    .option("--url <url>", "a server that is reached by HTTP")
    .option(
      "--header <name=value>",
      "sent with each request; ${NAME} is a variable of Capstan's own (repeatable)",
      list,
    )
    .option("--env <name=value>", "an environment variable of the program; ${NAME} as above (repeatable)", list)
    .option("--bearer-env <variable>", "the environment variable that holds the server's bearer token")
    .option("--private", "the URL may be private, loopback or without TLS")
    .option("--no-prefix", "publish what it has under its own names and URIs")
    .action(async (name: string, command: readonly string[], options) =>
      done(await (await import("./mcp.ts")).addServer(globals(), name, command, options)),
    );
  mcp
    .command("ls")
    .description("the servers in the config")
    .option("--json", "as JSON")
    .action(async (options) => done(await (await import("./mcp.ts")).listServers(globals(), options)));
  mcp
    .command("rm <name>")
    .description("take a server out of the config")
    .action(async (name: string) => done(await (await import("./mcp.ts")).removeServer(globals(), name)));
  mcp
    .command("login <name>")
    .description("sign in at a remote server and keep its tokens in the home")
    .action((name: string) => inApp(async (session) => (await import("./mcp-login.ts")).login(session, name)));

  const grant = program.command("grant").description("make, read and end grants");
  withRightsOptions(
    grant.command("create").description("print a token that holds what its options name, and nothing else"),
  ).action((options) => inApp(async (session) => (await import("./grant.ts")).createGrant(session, options)));
  withRightsOptions(
    grant.command("derive <token>").description("print a smaller token made from TOKEN, @FILE or -"),
  ).action((token: string, options) =>
    inApp(async (session) => (await import("./grant.ts")).deriveGrant(session, token, options)),
  );
  grant
    .command("show [grant]")
    .description("what a token or named grant allows, in sentences; without one, what you may do")
    .option("--json", "as JSON")
    .action((what: string | undefined, options) =>
      inApp(async (session) => (await import("./grant.ts")).showGrant(session, what, options)),
    );
  grant
    .command("verify <grant>")
    .description("whether it is good now")
    .action((what: string) => inApp(async (session) => (await import("./grant.ts")).verifyGrant(session, what)));
  grant
    .command("revoke [grant]")
    .description("end a grant and all that was derived from it")
    .option("--all", "end every grant made until now")
    .action((what: string | undefined, options) =>
      inApp(async (session) => (await import("./grant.ts")).revokeGrant(session, what, options)),
    );

  program
    .command("audit")
    .description("the record of every call")
    .command("verify")
    .description("whether anybody changed it")
    .option("--json", "as JSON")
    .action((options) => inApp(async (session) => (await import("./audit.ts")).verifyAuditLog(session, options)));

  const sandbox = program.command("sandbox").description("the image that code in containers runs in");
  sandbox
    .command("build [folder]")
    .description("make it, from the Dockerfile that comes along or the one in a folder")
    .action((folder: string | undefined) =>
      inApp(async (session) => (await import("./sandbox.ts")).buildSandbox(session, folder)),
    );
  sandbox
    .command("ls")
    .description("those that were made")
    .option("--json", "as JSON")
    .action((options) => inApp(async (session) => (await import("./sandbox.ts")).listSandboxes(session, options)));

  program
    .command("install")
    .description("add Capstan to an MCP client's config")
    .requiredOption("--client <name>", "claude-desktop, claude-code, vscode or cursor")
    .option("--root <dir>", "a folder that it may read (repeatable)", list)
    .option("--write <dir>", "a folder that it may write (repeatable)", list)
    .option("--as <name>", "the named grant that it acts under")
    .option("--grant-file <file>", "the file, readable by you alone, that holds the token that it acts under")
    .option("--place <where>", "user or project, where the client has both")
    .option("--file <path>", "the config file, if it is not at the usual place")
    .option("--yes", "write without asking")
    .action(async (options) => done(await (await import("./install.ts")).install(globals(), options)));

  program
    .command("doctor")
    .description("what works on this machine, and what to install for the rest")
    .option("--json", "as JSON")
    .action(async (options) => done(await (await import("./doctor.ts")).examine(globals(), options)));

  program
    .command("completion")
    .description("print a completion script")
    .addArgument(new Argument("<shell>", "bash, zsh or fish"))
    .action(async (shell: string) => {
      process.stdout.write(`${(await import("./completion.ts")).toCompletion(program, shell)}\n`);
      done(0);
    });
  return program;
}
