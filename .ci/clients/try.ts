// Calls every operation that needs no signature, with the types that openapi-typescript has made of openapi.json.
import createClient from "openapi-fetch";
import type { paths } from "./openapi.js";

const [baseUrl = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { "X-API-Key": key } });
const dispatch_id = "dispatch_1754653479_15103455686";
const recording_sid = "RE1234567890abcdef";

function expect<T>(name: string, answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${name}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  console.log(`${name}: ${answer.response.status}`);
  return answer.data;
}

// The gateway's own errors have a message only.
const codeOf = (error: { code: string } | { message: string } | undefined) => (error && "code" in error ? error.code : undefined);

const list = expect("listRecordings", await client.GET("/recordings", { params: { query: { limit: 2 } } }));
if (list.recordings.length !== 2 || list.next_cursor === null) throw new Error("a page of two has two rows and a next page");
expect("listRecordings, next page", await client.GET("/recordings", { params: { query: { cursor: list.next_cursor } } }));
const path = { dispatch_id };
const urls = expect("getRecording", await client.GET("/recordings/{dispatch_id}", { params: { path } }));
const audio = await client.GET("/recordings/{dispatch_id}/audio", { params: { path }, parseAs: "stream" });
if (!audio.response.ok || !audio.response.redirected) throw new Error(`getRecordingAudio: ${audio.response.status}`);
await audio.response.body?.cancel();
if (!(await fetch(urls.recording_url)).ok) throw new Error("recording_url does not play");
const transcript = expect("transcribeRecording", await client.POST("/recordings/{dispatch_id}/transcript", { params: { path }, body: {} }));
if (!("transcript" in transcript)) throw new Error("no transcript");
expect("getRecordingTranscript", await client.GET("/recordings/{dispatch_id}/transcript", { params: { path } }));
const share = expect("createShare", await client.POST("/recordings/{dispatch_id}/shares", { params: { path }, body: { expires_in: 60, passcode: "0815" } }));
const token = { token: share.token };
const form = await client.GET("/s/{token}", { params: { path: token }, parseAs: "text" });
if (!form.data?.includes("<form")) throw new Error(`openShare: ${form.response.status}`);
const opened = await client.POST("/s/{token}", {
  params: { path: token },
  body: { passcode: "0815" },
  bodySerializer: (body) => new URLSearchParams({ passcode: body.passcode ?? "" }),
  parseAs: "text",
});
const opening = /opening=([^"#]+)/.exec(opened.data ?? "")?.[1];
const shared = await client.GET("/s/{token}/audio", { params: { path: token, query: { opening } }, parseAs: "stream" });
if (!shared.response.ok || !shared.response.redirected) throw new Error(`getSharedAudio: ${shared.response.status}`);
await shared.response.body?.cancel();
const shares = expect("listShares", await client.GET("/recordings/{dispatch_id}/shares", { params: { path } }));
if (!shares.shares.some(({ id }) => id === share.id)) throw new Error("a new share is not in the list");
const share_id = share.id;
const one = expect("getShare", await client.GET("/recordings/{dispatch_id}/shares/{share_id}", { params: { path: { dispatch_id, share_id } } }));
if (one.openings.length !== 1) throw new Error("an opening is not told");
const revoked = expect("revokeShare", await client.DELETE("/recordings/{dispatch_id}/shares/{share_id}", { params: { path: { dispatch_id, share_id } } }));
if (revoked.status !== "revoked") throw new Error("a revoked share is not revoked");
expect("reportInteraction", await client.POST("/interactions", { body: { interaction_id: "ts-1", phone: "+14155550123" } }));
expect("getDailyReport", await client.GET("/reports/daily", { params: { query: { from: "2025-08-01", to: "2025-08-31" } } }));
const drawn = expect("drawWaveform", await client.POST("/recordings/{dispatch_id}/waveform", { params: { path } }));
if (!drawn.channels[0]?.length) throw new Error("a waveform has no points");
const session = expect("createSession", await client.POST("/console/session"));
if (!session.signed_in?.scopes.includes("recordings:read")) throw new Error("a session has no scopes");
expect("getSession", await client.GET("/console/session"));
expect("deleteSession", await client.DELETE("/console/session"));
const page = await client.GET("/console", { parseAs: "text" });
const script = /assets\/([0-9a-f]+)\/(app\.js)/.exec(page.data ?? "") ?? [];
const file = await client.GET("/console/assets/{version}/{file}", { params: { path: { version: script[1] ?? "", file: script[2] ?? "" } }, parseAs: "text" });
if (!file.data?.includes("import")) throw new Error(`getConsoleFile: ${file.response.status}`);
const root = await fetch(baseUrl, { redirect: "manual" });
if (root.status !== 302) throw new Error(`getRoot: ${root.status}`);
expect("getQueues", await client.GET("/reports/queues"));
const report = await client.GET("/reports/completeness");
if (report.response.status !== 200 && codeOf(report.error) !== "no_report") throw new Error(`getCompleteness: ${report.response.status}`);
expect("listTwilioRecordings", await client.GET("/api/twilio/recordings", { params: { query: { limit: 1 } } }));
expect("transcribeTwilioRecording", await client.POST("/api/twilio/transcript", { body: { recording_sid } }));
expect("getTwilioTranscript", await client.GET("/api/twilio/transcript/{recording_sid}", { params: { path: { recording_sid } } }));
expect("getUsage", await client.GET("/api/twilio/usage"));
expect("getContract", await client.GET("/openapi.json"));
const missing = await client.GET("/recordings/{dispatch_id}", { params: { path: { dispatch_id: "dispatch_1_1" } } });
if (codeOf(missing.error) !== "recording_not_found") throw new Error("an error has no code");
