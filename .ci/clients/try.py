"""Calls every operation that needs no signature, with the client that openapi-python-client has made of openapi.json."""

import sys
from datetime import date

from call_recordings_client import AuthenticatedClient
from call_recordings_client import models
from call_recordings_client.api.console import create_session, delete_session, get_console, get_session
from call_recordings_client.api.contract import get_contract
from call_recordings_client.api.recordings import draw_waveform, get_recording, list_recordings, report_interaction
from call_recordings_client.api.reports import get_completeness, get_daily_report, get_queues
from call_recordings_client.api.shares import create_share, get_share, list_shares, open_share, revoke_share
from call_recordings_client.api.transcripts import get_recording_transcript, transcribe_recording
from call_recordings_client.api.twilio import get_twilio_transcript, get_usage, list_twilio_recordings, transcribe_twilio_recording

base_url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=base_url, token=key, auth_header_name="X-API-Key", prefix="")
dispatch_id, recording_sid = "dispatch_1754653479_15103455686", "RE1234567890abcdef"


def expect(name, response, status=200):
    assert response.status_code == status, f"{name}: {response.status_code} {response.content!r}"
    print(f"{name}: {response.status_code}")
    return response.parsed


page = expect("listRecordings", list_recordings.sync_detailed(client=client, limit=2))
assert len(page.recordings) == 2 and page.next_cursor
expect("listRecordings, next page", list_recordings.sync_detailed(client=client, cursor=page.next_cursor))
urls = expect("getRecording", get_recording.sync_detailed(dispatch_id, client=client))
assert urls.stable_url == f"/recordings/{dispatch_id}/audio"
audio = client.get_httpx_client().get(urls.stable_url, follow_redirects=True)
assert audio.status_code == 200 and audio.history, audio
options = models.TranscriptOptions(timestamps=models.Timestamps.SEGMENT)
transcript = expect("transcribeRecording", transcribe_recording.sync_detailed(dispatch_id, client=client, body=options))
assert isinstance(transcript, models.Transcript) and transcript.segments
expect("getRecordingTranscript", get_recording_transcript.sync_detailed(dispatch_id, client=client))
drawn = expect("drawWaveform", draw_waveform.sync_detailed(dispatch_id, client=client))
assert drawn.channels[0], drawn
session = expect("createSession", create_session.sync_detailed(client=client))
assert "recordings:read" in session.signed_in.scopes, session
expect("getSession", get_session.sync_detailed(client=client))
expect("deleteSession", delete_session.sync_detailed(client=client))
console = expect("getConsole", get_console.sync_detailed(client=client))
assert "<script" in console, console
wanted = models.NewShare(expires_in=60, to=32, note="Python")
share = expect("createShare", create_share.sync_detailed(dispatch_id, client=client, body=wanted), 201)
page = expect("openShare", open_share.sync_detailed(share.token, client=client))
assert "<audio" in page, page
audio = client.get_httpx_client().get(f"/s/{share.token}/audio", follow_redirects=True)
assert audio.status_code == 200 and audio.history, audio
shares = expect("listShares", list_shares.sync_detailed(dispatch_id, client=client))
assert share.id in [known.id for known in shares.shares]
one = expect("getShare", get_share.sync_detailed(dispatch_id, share.id, client=client))
assert len(one.openings) == 1
revoked = expect("revokeShare", revoke_share.sync_detailed(dispatch_id, share.id, client=client))
assert revoked.status == models.ShareStatus.REVOKED
report = models.InteractionReport(interaction_id="py-1", phone="+14155550123")
expect("reportInteraction", report_interaction.sync_detailed(client=client, body=report))
days = get_daily_report.sync_detailed(client=client, from_=date(2025, 8, 1), to=date(2025, 8, 31))
expect("getDailyReport", days)
queues = expect("getQueues", get_queues.sync_detailed(client=client))
assert queues.queues
completeness = get_completeness.sync_detailed(client=client)
assert completeness.status_code == 200 or completeness.parsed.code == "no_report", completeness
expect("listTwilioRecordings", list_twilio_recordings.sync_detailed(client=client, limit=1))
wanted = models.TwilioTranscriptRequest(recording_sid=recording_sid)
expect("transcribeTwilioRecording", transcribe_twilio_recording.sync_detailed(client=client, body=wanted))
expect("getTwilioTranscript", get_twilio_transcript.sync_detailed(recording_sid, client=client))
expect("getUsage", get_usage.sync_detailed(client=client))
expect("getContract", get_contract.sync_detailed(client=client))
missing = expect("getRecording", get_recording.sync_detailed("dispatch_1_1", client=client), 404)
assert missing.code == "recording_not_found"
