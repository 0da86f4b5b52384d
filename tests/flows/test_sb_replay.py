"""`sb replay` on the real stages: what a call's events would change, told by each stage's own program, and a replay of the whole way."""

import json
import subprocess

from call_pipeline import BOOKED
from call_pipeline import pipeline, process, started  # noqa: F401 (fixtures)
from daemons import BUILD
from environment import wait_until

STAGES = ("ingest", "transcribe", "analyze", "notifier")


def sb(pipeline, stage, *arguments):
    """With the settings of the stage that runs."""
    result = subprocess.run([BUILD / "bin" / "sb", "replay", stage, *arguments], cwd=pipeline.folder, capture_output=True, text=True,
                            timeout=120, stdin=subprocess.DEVNULL,
                            env={name: str(value) for name, value in pipeline.daemons[stage].settings.items()})
    assert result.returncode == 0, (result.stdout, result.stderr)
    return result.stdout


def would(pipeline, stage, key, *arguments):
    *events, summary = map(json.loads, sb(pipeline, stage, "--key", key, "--dry-run", "--json", *arguments).splitlines())
    return events, summary["summary"]


def a_call(pipeline):
    call_id = pipeline.call(pipeline.company(), BOOKED)
    pipeline.delivery(call_id, "read")
    return call_id


def test_what_was_handled_as_it_would_be_today_changes_nothing(pipeline):
    call_id = a_call(pipeline)
    for stage in STAGES:
        events, summary = would(pipeline, stage, call_id)
        assert events and {event["outcome"] for event in events} <= {"done", "skipped"}, (stage, events)
        assert (summary["fields"], summary["asks"]) == ({}, {}), (stage, summary)


def test_a_difference_is_told_by_a_dry_run_and_mended_by_a_replay(pipeline):
    call_id = a_call(pipeline)
    pipeline.database.execute("UPDATE call_analyses SET summary = 'nonsense', sop_score = 0.25 WHERE call_id = %s", [call_id])
    events, summary = would(pipeline, "analyze", call_id)
    change, = (change for change in events[0]["changes"] if change["table"] == "call_analyses")
    assert change["change"] == "update" and change["key"]["call_id"] == call_id
    assert set(change["fields"]) == {"summary", "sop_score"} and change["fields"]["summary"][0] == "nonsense"
    assert summary["changing"] == 1 and summary["fields"] == {"call_analyses.summary": 1, "call_analyses.sop_score": 1}
    assert pipeline.row("call_analyses", call_id)["summary"] == "nonsense"
    assert "1 sent: 1 done" in sb(pipeline, "analyze", "--key", call_id)
    assert pipeline.row("call_analyses", call_id)["summary"] == change["fields"]["summary"][1]


def test_the_whole_way_is_replayed_and_nobody_gets_a_second_message(pipeline):
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    pipeline.delivery(call_id, "read")
    asked = len(pipeline.asked("openai"))
    sb(pipeline, "ingest", "--key", call_id, "--ask-again")
    of_run = lambda: {event["type"] for event in pipeline.events(call_id) if event["run"] == 1}  # noqa: E731
    wait_until(lambda: "call.analyzed" in of_run(), "the replay going on downstream")
    handled = "SELECT count(*) FROM ledger WHERE stage = 'notifier' AND correlation_id = %s AND run = 1"
    wait_until(lambda: pipeline.database.execute(handled, [call_id]).fetchone()["count"] > 0, "its end at the notifier")
    assert len(pipeline.messages(company.rep)) == 1 and len(pipeline.asked("openai")) > asked
