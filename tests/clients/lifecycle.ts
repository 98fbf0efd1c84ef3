// Drives openapi-fetch, typed by openapi-typescript, through the lifecycle of conversations and messages:
// `node lifecycle.js URL TOKEN`.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Conversation = components["schemas"]["Conversation"];
type Failure = components["schemas"]["ApiErrorResponse"];
interface Result<Data> {
  data?: Data;
  error?: Failure;
  response: Response;
}

// The first second of 2100, which 32 bits do not hold.
const YEAR_2100 = 4_102_444_800;
const [, , baseUrl = "", token = ""] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

/** Returns the body of a response with this status. */
function parsed<Data>({ data, error, response }: Result<Data>, status: number): NonNullable<Data> {
  assert.equal(response.status, status, JSON.stringify(error));
  assert(data);
  return data;
}

/** Returns the message of an error response with this status. */
function rejected({ error, response }: Result<unknown>, status: number): string {
  assert.equal(response.status, status);
  assert(error);
  assert.equal(error.type, "invalid_request");
  return error.message;
}

const at = (id: string) => ({ params: { path: { id } } });
const atVersion = (id: string, etag: string) => ({ params: { path: { id }, header: { "If-Match": etag } } });
const idsOf = (page: { data: Conversation[] }) => page.data.map((conversation) => conversation.id);

/** Creates a conversation with both ids, repeats the request, and returns the id. */
async function create(): Promise<string> {
  const both = { contact_id: "harry", group_id: "friends" };
  const params = { header: { "Idempotency-Key": "typescript" } };
  const created = await client.POST("/conversations", { params, body: both });
  const conversation = parsed(created, 201);
  assert.deepEqual([conversation.contact_id, conversation.group_id], ["harry", "friends"]);
  assert(created.response.headers.get("Location")?.endsWith(`/conversations/${conversation.id}`));
  const replayed = await client.POST("/conversations", { params, body: both });
  assert.deepEqual(parsed(replayed, 201), conversation);
  assert.equal(replayed.response.headers.get("Idempotent-Replayed"), "true");
  const other = await client.POST("/conversations", { params, body: { contact_id: "harry", group_id: null } });
  assert.match(rejected(other, 422), /^Idempotency-Key: /);
  const empty = await client.POST("/conversations", { body: {} });
  assert.equal(rejected(empty, 400), "contact_id, group_id: at least one of them must be given");
  return conversation.id;
}

/** Adds a conversation with a contact and one with a group, and lists them. */
async function filterAndPage(id: string): Promise<void> {
  const contact = parsed(await client.POST("/conversations", { body: { contact_id: "harry" } }), 201);
  const group = parsed(await client.POST("/conversations", { body: { group_id: "family" } }), 201);
  assert.deepEqual([contact.group_id, group.contact_id, group.group_id], [null, null, "family"]);
  const list = (query: NonNullable<paths["/conversations"]["get"]["parameters"]["query"]>) =>
    client.GET("/conversations", { params: { query } });

  const walked: string[] = [];
  let page = parsed(await list({ limit: 1 }), 200);
  walked.push(...idsOf(page));
  while (page.has_more) {
    page = parsed(await list({ limit: 1, starting_after: walked.at(-1) ?? "" }), 200);
    walked.push(...idsOf(page));
  }
  assert.deepEqual(walked, [group.id, contact.id, id]);
  assert.deepEqual(parsed(await list({ ending_before: id, limit: 1 }), 200), { has_more: true, data: [contact] });
  assert.deepEqual(idsOf(parsed(await list({ group_id: "friends", muted: false, archived: false }), 200)), [id]);
  assert.deepEqual(parsed(await list({ pinned: true }), 200).data, []);
  assert.match(rejected(await list({ limit: 101 }), 400), /^limit: /);
  // @ts-expect-error: a mistyped filter
  assert.match(rejected(await list({ pined: true }), 400), /^pined: unknown/);
  for (const extra of [contact, group]) {
    assert.equal((await client.DELETE("/conversations/{id}", at(extra.id))).response.status, 204);
  }
}

/** Tells null from absent, and makes conditional requests. */
async function change(id: string): Promise<void> {
  const body = { archived_at: YEAR_2100, is_pinned: true };
  const archived = await client.PUT("/conversations/{id}", { ...at(id), body });
  assert.equal(parsed(archived, 200).archived_at, YEAR_2100);
  const muted = await client.PUT("/conversations/{id}", { ...at(id), body: { is_muted: true } });
  assert.equal(parsed(muted, 200).archived_at, YEAR_2100);
  const restored = parsed(await client.PUT("/conversations/{id}", { ...at(id), body: { archived_at: null } }), 200);
  assert.deepEqual([restored.archived_at, restored.is_pinned, restored.is_muted], [null, true, true]);
  // @ts-expect-error: null in a form, but not in JSON
  rejected(await client.PUT("/conversations/{id}", { ...at(id), body: { archived_at: "" } }), 400);
  // @ts-expect-error: true in a form, but not in JSON
  rejected(await client.PUT("/conversations/{id}", { ...at(id), body: { is_pinned: "true" } }), 400);

  const retrieved = await client.GET("/conversations/{id}", at(id));
  assert.deepEqual(parsed(retrieved, 200), restored);
  const etag = retrieved.response.headers.get("ETag") ?? "";
  const stale = archived.response.headers.get("ETag") ?? "";
  const params = { path: { id }, header: { "If-None-Match": etag } };
  const unchanged = await client.GET("/conversations/{id}", { params, parseAs: "text" });
  assert.deepEqual([unchanged.response.status, unchanged.data], [304, undefined]);
  const unmute = { is_muted: false };
  rejected(await client.PUT("/conversations/{id}", { ...atVersion(id, stale), body: unmute }), 412);
  rejected(await client.DELETE("/conversations/{id}", atVersion(id, stale)), 412);
  parsed(await client.PUT("/conversations/{id}", { ...atVersion(id, etag), body: unmute }), 200);
}

/** Sends, edits, pins and deletes messages, the last one for everyone. */
async function exchangeMessages(id: string): Promise<void> {
  const text = { conversation_id: id, message: "Merry Christmas, Harry" };
  const sent = parsed(await client.POST("/messages", { body: text }), 201);
  assert.deepEqual([sent.contact, sent.read_at, sent.reactions, sent.attachments], [null, null, [], []]);
  const pictures = { conversation_id: id, attachments: ["https://files.example.com/tarantula.jpg"] };
  const picture = parsed(await client.POST("/messages", { body: pictures }), 201);
  assert.equal(picture.message, "");
  const page = await client.GET("/messages", { params: { query: { conversation_id: id, limit: 1 } } });
  assert.deepEqual(parsed(page, 200), { has_more: true, data: [picture] });

  const reactions = [
    { reaction: "heart", contact_id: null },
    { reaction: "heart", contact_id: "harry" },
  ];
  const react = { reactions, read_at: YEAR_2100 };
  const read = parsed(await client.PUT("/messages/{id}", { ...at(sent.id), body: react }), 200);
  assert.deepEqual([read.read_at, read.updated_at, read.reactions], [YEAR_2100, null, reactions]);
  const edit = { message: "Happy New Year, Harry", read_at: null };
  const edited = parsed(await client.PUT("/messages/{id}", { ...at(sent.id), body: edit }), 200);
  assert.deepEqual([edited.read_at, edited.message, edited.reactions], [null, edit.message, reactions]);
  assert.equal(typeof edited.updated_at, "number");
  assert.deepEqual(parsed(await client.GET("/messages/{id}", at(sent.id)), 200), edited);

  const pin = { pinned_message_id: sent.id };
  parsed(await client.PUT("/conversations/{id}", { ...at(id), body: pin }), 200);
  // @ts-expect-error: a mistyped value
  const wrong = await client.DELETE("/messages/{id}", { params: { path: { id: sent.id }, query: { for: "all" } } });
  assert.match(rejected(wrong, 400), /^for: must be everyone/);
  const params = { path: { id: sent.id }, query: { for: "everyone" as const } };
  assert.equal((await client.DELETE("/messages/{id}", { params })).response.status, 204);
  assert.equal(rejected(await client.GET("/messages/{id}", at(sent.id)), 404), "id: no such message");
  const conversation = parsed(await client.GET("/conversations/{id}", at(id)), 200);
  assert.equal(conversation.pinned_message_id, null);
  assert.equal(typeof conversation.last_active_at, "number");
}

/** Pages through the inbox, marks an entry, mutes it until a time, and blocks its contact. */
async function readInbox(id: string): Promise<void> {
  const other = parsed(await client.POST("/conversations", { body: { contact_id: "marv" } }), 201);
  const list = (query: NonNullable<paths["/inbox"]["get"]["parameters"]["query"]>) =>
    client.GET("/inbox", { params: { query } });
  let page = parsed(await list({ limit: 1 }), 200);
  const walked = [...page.data];
  while (page.has_more) {
    page = parsed(await list({ limit: 1, starting_after: walked.at(-1)?.position ?? "" }), 200);
    walked.push(...page.data);
  }
  assert.deepEqual(walked.map((entry) => entry.conversation.id).sort(), [id, other.id].sort());
  const [entry] = parsed(await list({ group_id: "friends", unread: false, archived: false }), 200).data;
  assert(entry?.last_message);
  assert.deepEqual([entry.conversation.id, entry.unread_count, entry.is_unread], [id, 0, false]);
  assert.deepEqual([entry.last_message.contact, entry.read_up_to, entry.muted_until], [null, null, null]);
  assert.match(rejected(await list({ starting_after: id }), 400), /^starting_after: must be the position/);

  const of = { params: { path: { conversation_id: id } } };
  const body = { read_up_to: entry.last_message.id, is_unread: true, muted_until: YEAR_2100, is_blocked: true };
  const marked = parsed(await client.PUT("/inbox/{conversation_id}", { ...of, body }), 200);
  assert.deepEqual([marked.read_up_to, marked.is_unread, marked.muted_until], [body.read_up_to, true, YEAR_2100]);
  assert.deepEqual([marked.conversation.is_muted, marked.is_blocked], [true, true]);
  const count = parsed(await client.GET("/unread", { params: { query: { muted: true } } }), 200);
  assert.deepEqual(count, { conversations: 1, messages: 0, has_more: false });
  const unmute = { is_unread: false, muted_until: null, is_blocked: false };
  const read = parsed(await client.PUT("/inbox/{conversation_id}", { ...of, body: unmute }), 200);
  assert.deepEqual([read.is_unread, read.muted_until, read.is_blocked], [false, null, false]);
  assert.deepEqual(parsed(await client.GET("/inbox/{conversation_id}", of), 200), read);
  // @ts-expect-error: a time as text
  rejected(await client.PUT("/inbox/{conversation_id}", { ...of, body: { muted_until: "tomorrow" } }), 400);
  assert.equal((await client.DELETE("/conversations/{id}", at(other.id))).response.status, 204);
}

/** Reads the feed from its beginning, until the message that was sent appears. */
async function readFeed(id: string): Promise<void> {
  const list = (starting_after: number) => client.GET("/changes", { params: { query: { starting_after } } });
  const read: components["schemas"]["Change"][] = [];
  const until = Date.now() + 60_000;
  while (!read.some((change) => change.type === "message.created")) {
    assert(Date.now() < until);
    read.push(...parsed(await list(read.length), 200).data);
  }
  assert.deepEqual([read[0]?.number, read[0]?.id, read[0]?.type], [1, id, "conversation.created"]);
  const head = parsed(await client.GET("/changes"), 200).head;
  assert(head >= read.length);
  assert.match(rejected(await list(head + 1000), 400), /^starting_after: must be at most the head/);
}

const id = await create();
await filterAndPage(id);
await change(id);
await exchangeMessages(id);
await readInbox(id);
await readFeed(id);
const etag = (await client.GET("/conversations/{id}", at(id))).response.headers.get("ETag") ?? "";
assert.equal((await client.DELETE("/conversations/{id}", atVersion(id, etag))).response.status, 204);
assert.equal(rejected(await client.GET("/conversations/{id}", at(id)), 404), "id: no such conversation");
