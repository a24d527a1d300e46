import { z } from "zod";
import { fromZod } from "../../src/tools/schema.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";

/** Twenty servers as people have them: what they hold (four kinds of things), and one thing that only they do. */
const servers: readonly (readonly [name: string, things: string, own: string, does: string])[] = [
  [
    "github",
    "issue pull_request repository branch",
    "merge_pull_request",
    "Merges a pull request into its base branch.",
  ],
  ["gitlab", "merge_request pipeline project runner", "retry_pipeline", "Runs the failed jobs of a CI pipeline again."],
  ["jira", "ticket sprint board worklog", "transition_ticket", "Moves a ticket to another status of its workflow."],
  ["linear", "cycle roadmap milestone label", "assign_cycle", "Plans work into a cycle and assigns it to a person."],
  ["slack", "channel message reaction reminder", "invite_to_channel", "Invites people to a channel of the workspace."],
  ["gmail", "email draft thread filter", "send_email", "Sends an email to one or more recipients."],
  [
    "calendar",
    "event meeting_room invitation holiday",
    "find_free_slot",
    "Finds a time when all participants are free.",
  ],
  [
    "drive",
    "document folder comment permission",
    "share_document",
    "Shares a document with other people by their address.",
  ],
  ["notion", "page database block template", "append_block", "Adds text to the end of a page."],
  ["postgres", "table index view role", "run_query", "Runs a SQL statement and returns its rows."],
  ["stripe", "customer invoice subscription payout", "refund_payment", "Gives a payment back to the customer."],
  [
    "shopify",
    "product order discount inventory_item",
    "fulfill_order",
    "Marks an order as shipped, with its tracking number.",
  ],
  [
    "salesforce",
    "lead account opportunity campaign",
    "convert_lead",
    "Turns a lead into an account with an opportunity.",
  ],
  [
    "kubernetes",
    "pod deployment service namespace",
    "scale_deployment",
    "Changes how many replicas of a deployment run.",
  ],
  [
    "aws",
    "bucket instance queue lambda_function",
    "invoke_lambda_function",
    "Calls a serverless function with a payload.",
  ],
  ["grafana", "dashboard alert_rule datasource annotation", "silence_alert", "Mutes an alert for a while."],
  ["sentry", "crash release environment debug_symbol", "resolve_crash", "Marks a crash report as fixed in a release."],
  ["browser", "tab cookie download bookmark", "take_screenshot", "Takes a picture of the page that is open."],
  ["maps", "place route geofence saved_list", "geocode_address", "Turns a street address into latitude and longitude."],
  [
    "weather",
    "station forecast storm_warning observation",
    "current_conditions",
    "Temperature, wind and rain at a place right now.",
  ],
];

const verbs: readonly (readonly [verb: string, says: (thing: string, server: string) => string])[] = [
  ["list", (thing, server) => `Lists the ${toPlural(thing)} in ${server}, newest first. Answers one page at a time.`],
  ["get", (thing, server) => `Gets one ${thing} from ${server} by its id, with all of its details.`],
  ["create", (thing, server) => `Creates a new ${thing} in ${server} and returns its id.`],
  ["update", (thing, server) => `Changes a ${thing} in ${server}. Only the fields that are given are changed.`],
  ["delete", (thing, server) => `Deletes a ${thing} from ${server}. This can't be undone.`],
  ["search", (thing, server) => `Searches the ${toPlural(thing)} of ${server} by text and returns those that match.`],
];

/** Five hundred tools of twenty servers: 25 each. */
export const fiveHundred: readonly Tool[] = servers.flatMap(([server, things, own, does]) => [
  ...things.split(" ").flatMap((thing) =>
    verbs.map(([verb, says]) => {
      const name = verb === "list" || verb === "search" ? toPlural(thing) : thing;
      return serverTool(server, `${verb}_${name}`, says(thing.replaceAll("_", " "), server));
    }),
  ),
  serverTool(server, own, does),
]);

function toPlural(thing: string): string {
  if (/(?:s|x|ch)$/.test(thing)) return `${thing}es`;
  return thing.endsWith("y") ? `${thing.slice(0, -1)}ies` : `${thing}s`;
}

/** A tool of another server, as a bridge would define it. */
export function serverTool(server: string, name: string, description: string): Tool {
  return defineTool({
    name: `${server}__${name}`,
    title: "",
    description,
    input: fromZod(
      z.strictObject({
        id: z.string().optional().describe("The id, as the list shows it."),
        query: z.string().optional().describe("A text to look for."),
        fields: z.array(z.string()).optional().describe("Names of the fields to return."),
        limit: z.int().optional().describe("How many results at most."),
      }),
    ),
    hints: { readOnly: false, destructive: true, idempotent: false, openWorld: true },
    effect: "once",
    needs: () => [],
    run: async () => ({ type: "done", value: { name } }),
    origin: { source: `mcp:${server}`, pin: `pin-of-${server}` },
  });
}

/** What people ask for, and the tool of the five hundred that does it. */
export const wanted: readonly (readonly [query: string, name: string])[] = [
  ["open a new issue on GitHub", "github__create_issue"],
  ["merge my pull request", "github__merge_pull_request"],
  ["which branches are on github? show all", "github__list_branches"],
  ["retry a failed CI pipeline", "gitlab__retry_pipeline"],
  ["move the jira ticket to done", "jira__transition_ticket"],
  ["send an email to a customer", "gmail__send_email"],
  ["search my emails for an attachment", "gmail__search_emails"],
  ["schedule a meeting: when is everybody free", "calendar__find_free_slot"],
  ["create a calendar event", "calendar__create_event"],
  ["share the document with Anna", "drive__share_document"],
  ["run a SQL query", "postgres__run_query"],
  ["give the customer their money back, refund", "stripe__refund_payment"],
  ["find an invoice in stripe", "stripe__search_invoices"],
  ["mark order as shipped", "shopify__fulfill_order"],
  ["scale the deployment to 5 replicas", "kubernetes__scale_deployment"],
  ["restart: delete a kubernetes pod", "kubernetes__delete_pod"],
  ["list S3 buckets in aws", "aws__list_buckets"],
  ["mute this alert for an hour", "grafana__silence_alert"],
  ["screenshot of the current page", "browser__take_screenshot"],
  ["latitude and longitude of an address", "maps__geocode_address"],
  ["how warm is it now, temperature", "weather__current_conditions"],
];
