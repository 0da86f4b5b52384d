"""Where copies of recordings lie: in an S3-compatible bucket, which any instance plays from, and for as long as their company wants."""

import hashlib
import io
import json
import subprocess
import threading
import time
import uuid
import wave
from datetime import datetime, timedelta, timezone

import pytest
import requests
from api_client import Api, OPENAPI
from call_pipeline import BOOKED, COLD, Pipeline, a_number, pipeline, process, recording  # noqa: F401 (fixtures)
from daemons import BUILD, Daemon
from environment import wait_until
from test_visits import WON, a_visit, an_appointment, row_of

REGION, BUCKET = "us-east-1", "recordings"
KEY = {"AWS_ACCESS_KEY_ID": "AKIASANDBOX", "AWS_SECRET_ACCESS_KEY": "sandbox-aws-secret-access-key"}  # the sandbox's
PIECE_BYTES = 1024 * 1024  # in which a bucket's recording is played


def in_bucket(sandbox_url):
    return {"RECORDINGS_S3_URL": sandbox_url + "/s3", "RECORDINGS_S3_BUCKET": BUCKET, "RECORDINGS_S3_REGION": REGION, **KEY}


@pytest.fixture(scope="module")
def started(schema_ready, topics, process, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("pipeline")
    pipeline = Pipeline(schema_ready, topics, process, folder, ingest={**in_bucket(process), "RECORDINGS_DIR": str(folder / "ingest")},
                        transcribe={**in_bucket(process), "RECORDING_STALL_TIMEOUT": "1s"})
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def another(started, process, tmp_path_factory):  # noqa: F811
    """An ingest on another machine: it has no folder of recordings at all."""
    daemon = Daemon("ingest", started.environment, tmp_path_factory.mktemp("another"), **in_bucket(process), RECORDINGS_DIR="/nonexistent",
                    INGEST_REQUEST_DEADLINE="2s").ready()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def sb(pipeline, tmp_path):
    def run(*arguments, code=0, **settings):
        env = {"PATH": "/usr/bin", "DATABASE_URL": pipeline.environment.database_url, "KAFKA_BROKERS": pipeline.environment.brokers,
               **in_bucket(pipeline.sandbox.url), "RECORDINGS_DIR": str(tmp_path), "ASAN_OPTIONS": "detect_leaks=0", **settings}
        done = subprocess.run([BUILD / "bin" / "sb", *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done
    return run


def objects(pipeline):
    return {entry["key"]: entry for entry in pipeline.sandbox.control("GET", "/objects")["objects"]}


def files(pipeline):
    return [path for path in (pipeline.folder / "recordings").rglob("*") if path.is_file()]


def token(pipeline, tenant, role="admin"):
    value = "sb_" + uuid.uuid4().hex + "0123456789a"
    pipeline.database.execute("INSERT INTO api_tokens (token_hash, token_id, tenant, role) VALUES (%s, %s, %s, %s)",
                              [hashlib.sha256(value.encode()).digest(), uuid.uuid4(), tenant, role])
    return value


def play(daemon, secret, id, path="/api/v1/calls", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{daemon.url}{path}/{id}/recording", headers={"Authorization": f"Bearer {secret}", **headers}, timeout=30)


def long_recording(seconds=200):
    """More than three pieces, of which no two are alike; nobody speaks in it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"".join(n.to_bytes(2, "little") for n in range(40)) * (200 * seconds))
    return file.getvalue()


def handled(pipeline, call_id, run=0, type="call.recorded"):
    query = "SELECT outcome, why FROM ledger WHERE stage = 'transcribe' AND correlation_id = %s AND event_type = %s AND run = %s"
    return wait_until(lambda: pipeline.database.execute(query, [call_id, type, run]).fetchone(), f"run {run} of {type} of {call_id}")


def recorded(pipeline, call_id):
    return pipeline.topics.wait("calls", call_id, type="call.recorded")[0]


def again(pipeline, call_id, run, **attributes):
    """A replay of its transcription."""
    pipeline.topics.send("replay.transcribe", call_id, {**recorded(pipeline, call_id), "run": run, **attributes})
    return handled(pipeline, call_id, run)


# --- the bucket -----------------------------------------------------------------------------------------------------------


def test_the_copy_lies_in_the_bucket_and_nowhere_else(pipeline):
    company, audio = pipeline.company(), recording(BOOKED)
    call_id = pipeline.call(company, BOOKED)
    row = pipeline.row("recordings", call_id)
    assert row["path"] == f"{company.tenant}/{hashlib.sha256(call_id.encode()).hexdigest()}.wav"
    kept = objects(pipeline)[row["path"]]
    assert (kept["bytes"], kept["sha256"]) == (row["bytes"], row["sha256"]) == (len(audio), hashlib.sha256(audio).hexdigest())
    assert pipeline.row("call_analyses", call_id)["booking_status"] == "booked" and files(pipeline) == []
    put, = pipeline.asked("s3", method="PUT")
    assert put["headers"]["content-type"] == "audio/wav" and "AWS4-HMAC-SHA256" in put["headers"]["authorization"]
    assert KEY["AWS_SECRET_ACCESS_KEY"] not in json.dumps(put) + pipeline.daemons["transcribe"].log() + pipeline.ingest.log()


def test_any_instance_plays_it_whole_and_in_parts(pipeline, another):
    company, audio = pipeline.company(), long_recording()
    call_id = pipeline.call(company, audio=audio)
    pipeline.row("recordings", call_id)
    mine = token(pipeline, company.tenant)
    assert len(audio) > 3 * PIECE_BYTES
    for daemon in (pipeline.ingest, another):
        whole = play(daemon, mine, call_id)
        assert (whole.status_code, whole.headers["Content-Type"], whole.headers["Content-Length"]) == (200, "audio/wav", str(len(audio)))
        assert whole.content == audio
        for range, first, last in (("bytes=0-0", 0, 0), ("bytes=5-", 5, len(audio) - 1), ("bytes=-7", len(audio) - 7, len(audio) - 1),
                                   (f"bytes={PIECE_BYTES - 3}-{2 * PIECE_BYTES + 3}", PIECE_BYTES - 3, 2 * PIECE_BYTES + 3)):
            part = play(daemon, mine, call_id, Range=range)
            assert (part.status_code, part.content) == (206, audio[first:last + 1]), range
            assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(audio)}"
        outside = play(daemon, mine, call_id, Range=f"bytes={len(audio)}-")
        assert outside.status_code == 416 and outside.headers["Content-Range"] == f"bytes */{len(audio)}"
        tag = whole.headers["ETag"]
        assert play(daemon, mine, call_id, Range="bytes=0-9", If_Range=tag).status_code == 206
        assert play(daemon, mine, call_id, Range="bytes=0-9", If_Range='"another"').status_code == 200


def test_who_may_not_hear_it_does_not_even_make_the_bucket_be_asked(pipeline, another):
    call_id = pipeline.call(pipeline.company(), COLD)
    pipeline.row("recordings", call_id)
    before = len(pipeline.asked("s3"))
    foreign = play(another, token(pipeline, pipeline.company().tenant), call_id)
    absent = play(another, token(pipeline, pipeline.company().tenant), "nothing")
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content) and absent.status_code == 404
    assert play(another, "sb_" + "x" * 43, call_id).status_code == 401
    assert len(pipeline.asked("s3")) == before


def test_a_slow_listener_holds_little_and_one_who_leaves_ends_it(pipeline, another):
    company = pipeline.company()
    call_id = pipeline.call(company, audio=long_recording(1300))
    pipeline.row("recordings", call_id)
    before = len(pipeline.asked("s3", method="GET"))
    with requests.get(f"{another.url}/api/v1/calls/{call_id}/recording", stream=True, timeout=30,
                      headers={"Authorization": f"Bearer {token(pipeline, company.tenant)}"}) as answer:
        answer.raw.read(100)
        time.sleep(1)  # as long as nobody reads, nothing more is fetched than fits on the way
        pieces = len(pipeline.asked("s3", method="GET")) - before
        assert 1 <= pieces < 10
    wait_until(lambda: another.metric("ingest_requests_total", route="/api/v1/calls/{id}/recording") >= 1, "the request's end")
    assert play(another, token(pipeline, company.tenant), call_id, Range="bytes=0-9").status_code == 206


def test_a_bucket_that_is_away_costs_time_and_no_call(pipeline):
    pipeline.sandbox.fault(provider="s3", method="PUT", what="status", status=503, count=2)
    pipeline.sandbox.fault(provider="s3", method="HEAD", what="cut", when="before", count=1)
    call_id = pipeline.call(pipeline.company(), BOOKED)
    row = pipeline.row("recordings", call_id)
    assert row["path"] in objects(pipeline) and pipeline.settled("transcribe", call_id, "call.recorded")["outcome"] == "done"
    assert [put["status"] for put in pipeline.asked("s3", method="PUT")] == [503, 503, 200]


def test_one_that_stalls_is_given_up_and_asked_again(pipeline):
    pipeline.sandbox.fault(provider="s3", method="PUT", what="stall", seconds=30, when="before", count=1)
    call_id = pipeline.call(pipeline.company(), BOOKED)
    assert pipeline.row("recordings", call_id)["path"] in objects(pipeline)


def test_playback_says_when_the_bucket_is_away_and_nothing_else_waits_for_it(pipeline, another):
    company = pipeline.company()
    call_id = pipeline.call(company, COLD)
    pipeline.row("recordings", call_id)
    secret = token(pipeline, company.tenant)
    pipeline.sandbox.fault(provider="s3", method="GET", what="status", status=503, count=1)
    away = play(another, secret, call_id)
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5") and away.headers["Content-Type"] == "application/problem+json"
    pipeline.sandbox.fault(provider="s3", method="GET", what="stall", seconds=6, when="before", count=20)
    waiting = [requests.get(f"{another.url}/api/v1/calls/{call_id}", headers={"Authorization": f"Bearer {secret}"}, timeout=5)]
    players = [threading.Thread(target=play, args=(another, secret, call_id)) for _ in range(8)]
    for player in players:
        player.start()
    wait_until(lambda: len(pipeline.asked("s3", method="GET")) >= 8, "eight who wait for the bucket")
    waiting.append(requests.get(f"{another.url}/api/v1/calls/{call_id}", headers={"Authorization": f"Bearer {secret}"}, timeout=5))
    assert [answer.status_code for answer in waiting] == [200, 200]
    for player in players:
        player.join()


def test_a_recording_that_breaks_off_does_not_end_as_if_it_were_whole(pipeline, another):
    company = pipeline.company()
    call_id = pipeline.call(company, audio=long_recording())
    pipeline.row("recordings", call_id)
    pipeline.sandbox.fault(provider="s3", method="GET", what="status", status=500, skip=1, count=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        play(another, token(pipeline, company.tenant), call_id)


def test_a_wrong_key_is_said_and_nothing_is_lost(pipeline):
    transcribe = pipeline.restart("transcribe", AWS_SECRET_ACCESS_KEY="wrong")
    call_id = pipeline.call(pipeline.company(), BOOKED)

    def told():
        try:
            answer = requests.get(transcribe.url + "/ready", timeout=5)
        except requests.ConnectionError:
            return False
        return answer.status_code == 503 and "AWS_SECRET_ACCESS_KEY" in answer.text and '"recordings\\"' in answer.text
    wait_until(told, "the word that the key is wrong")
    check = subprocess.run([BUILD / "bin" / "transcribe", "--check"], env=transcribe.settings, cwd=transcribe.folder, capture_output=True, text=True)
    assert "bad  recordings the bucket" in check.stdout and "HTTP status 403" in check.stdout
    assert "wrong" not in check.stdout.replace("is wrong", "")
    pipeline.use("transcribe", **KEY)
    assert pipeline.row("recordings", call_id)["path"] in objects(pipeline)
    check = subprocess.run([BUILD / "bin" / "transcribe", "--check"], env=transcribe.settings, cwd=transcribe.folder, capture_output=True, text=True)
    assert f"ok   recordings bucket {BUCKET} at {pipeline.sandbox.url}/s3" in check.stdout


@pytest.mark.parametrize(("settings", "said"), [
    ({"RECORDINGS_S3_BUCKET": ""}, "RECORDINGS_S3_URL is set but RECORDINGS_S3_BUCKET is not"),
    ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"), ({"RECORDINGS_S3_BUCKET": "a/b"}, "the name of a bucket"),
    ({"RECORDINGS_S3_BUCKET": "another"}, 'there is no bucket "another"'), ({"RECORDINGS_S3_REGION": "eu-west-1"}, "RECORDINGS_S3_REGION"),
    ({"RECORDING_BYTES_MAX": "6GiB"}, "5 GiB")])
def test_settings_that_cannot_work_are_said(pipeline, settings, said):
    transcribe = pipeline.daemons["transcribe"]
    check = subprocess.run([BUILD / "bin" / "transcribe", "--check"], env={**transcribe.settings, **settings}, cwd=transcribe.folder,
                           capture_output=True, text=True)
    assert check.returncode == 1 and any(said in line for line in check.stdout.splitlines() if line.startswith("bad  recordings")), check.stdout


def test_a_recording_nobody_could_write_down_is_played_and_listened_to_later(pipeline):
    """When its host has it no more, the copy is what a retried dead letter reads."""
    pipeline.sandbox.fault(provider="openai", what="status", status=400, count=None)
    company = pipeline.company()
    call_id = pipeline.call(company, BOOKED)
    assert handled(pipeline, call_id)["outcome"] == "rejected"
    row = pipeline.row("recordings", call_id)
    assert play(pipeline.ingest, token(pipeline, company.tenant), call_id).content == recording(BOOKED)
    pipeline.sandbox.control("DELETE", "/faults")
    pipeline.sandbox.control("DELETE", f"/files/{call_id}.wav")
    assert again(pipeline, call_id, 1)["outcome"] == "done"
    assert "leaking" in pipeline.row("call_transcripts", call_id)["text"]
    assert pipeline.rows("recordings", call_id)[0]["sha256"] == row["sha256"] and len(pipeline.asked("s3", method="PUT")) == 1


def test_one_whose_words_were_given_up_has_its_row_too(pipeline):
    pipeline.use("transcribe", RETRY_AGE_MAX="2s")
    try:
        pipeline.sandbox.fault(provider="openai", what="status", status=503, count=None)
        company = pipeline.company()
        call_id = pipeline.call(company, BOOKED)
        ended = handled(pipeline, call_id)
        assert ended["outcome"] == "rejected" and ended["why"].startswith("gave up")
        row = pipeline.row("recordings", call_id)
        assert objects(pipeline)[row["path"]]["sha256"] == row["sha256"]
        assert play(pipeline.ingest, token(pipeline, company.tenant), call_id).content == recording(BOOKED)
        pipeline.sandbox.control("DELETE", "/faults")
        assert again(pipeline, call_id, 1)["outcome"] == "done" and pipeline.row("call_transcripts", call_id)["words"] > 0
    finally:
        pipeline.use("transcribe", RETRY_AGE_MAX="24h")


def test_one_copied_before_its_call_went_home_stays_where_it_is(pipeline, sb):
    """And is not copied a second time for its company."""
    pipeline.sandbox.fault(provider="openai", what="status", status=503, count=None)
    company, number = pipeline.company(), a_number()
    call_id = pipeline.call(company, BOOKED, tracking_number=number)
    path = f"unassigned/{hashlib.sha256(call_id.encode()).hexdigest()}.wav"
    wait_until(lambda: path in objects(pipeline), "the copy")
    sb("number", "add", number, "--tenant", company.tenant)
    pipeline.restart("transcribe").ready()      # whoever goes on knows of no copy
    pipeline.sandbox.control("DELETE", "/faults")
    assert pipeline.row("call_transcripts", call_id)["tenant"] == company.tenant
    assert pipeline.row("recordings", call_id)["path"] == path and [put["status"] for put in pipeline.asked("s3", method="PUT")] == [200]


def test_a_person_is_exported_and_erased_there_too(pipeline, sb, tmp_path):
    company = pipeline.company()
    phone = "+1202" + str(2_000_000 + uuid.uuid4().int % 7_999_999)
    call_id, other = pipeline.call(company, BOOKED, caller_number=phone), pipeline.call(company, COLD)
    path, others = pipeline.row("recordings", call_id)["path"], pipeline.row("recordings", other)["path"]
    pipeline.row("call_analyses", call_id)
    exported = json.loads(sb("export", phone, "--recordings", tmp_path / "copies").stdout)
    assert exported["recordings"] == [path]
    assert (tmp_path / "copies" / path.replace("/", "-")).read_bytes() == recording(BOOKED)
    pipeline.sandbox.fault(provider="s3", method="DELETE", what="status", status=503, count=1)
    assert "does not do it now" in sb("erase", phone, code=1).stderr
    assert pipeline.rows("calls", call_id)[0]["customer_number"] == phone
    assert json.loads(sb("erase", phone, "--json").stdout)["recordings"] == 1
    assert path not in objects(pipeline) and others in objects(pipeline)


# --- for as long as their company wants -----------------------------------------------------------------------------------


def grow_old(pipeline, days, call_id=None, session_id=None):
    table, column, id = ("recordings", "call_id", call_id) if call_id else ("session_recordings", "session_id", session_id)
    pipeline.database.execute(f"UPDATE {table} SET recorded_at = now() - make_interval(days => %s) WHERE {column} = %s", [days, id])


def just_now():
    return datetime.now(timezone.utc).isoformat()


def removed(pipeline, call_id):
    return wait_until(lambda: (rows := pipeline.rows("recordings", call_id)) and rows[0]["removed_at"] and rows[0], f"the removal of {call_id}'s recording")


def test_recordings_end_with_their_companys_time_and_what_was_said_stays(pipeline, another, sb):
    company, other = pipeline.company(), pipeline.company()
    old, new, others = pipeline.call(company, BOOKED), pipeline.call(company, COLD), pipeline.call(other, COLD)
    paths = [pipeline.row("recordings", call_id)["path"] for call_id in (old, new, others)]
    visit = a_visit(pipeline, company, an_appointment(pipeline, company), WON)
    paths.append(row_of(pipeline, "session_recordings", visit)["path"])
    pipeline.row("call_analyses", old)
    for call_id, days in ((old, 91), (new, 89), (others, 91)):
        grow_old(pipeline, days, call_id)
    grow_old(pipeline, 91, session_id=visit)
    sb("company", "set", company.tenant, "--recordings-days", "90")

    before = removed(pipeline, old)
    wait_until(lambda: row_of(pipeline, "session_recordings", visit)["removed_at"], "the removal of the visit's")
    assert [path in objects(pipeline) for path in paths] == [False, True, True, False]
    secret = token(pipeline, company.tenant)
    gone = play(another, secret, old)
    assert gone.status_code == 410 and "retention time" in gone.json()["detail"] and gone.headers["Content-Type"] == "application/problem+json"
    assert play(another, secret, visit, "/api/v1/recordings/sessions").status_code == 410
    shown = Api(another.url, secret).send("GET", f"/api/v1/calls/{old}").json()["data"]
    assert shown["recording"]["removed_at"] and "leaking" in shown["transcript"]["text"] and shown["analysis"]["booking_status"] == "booked"
    assert play(another, secret, new).status_code == 200 and pipeline.rows("recordings", others)[0]["removed_at"] is None

    sb("company", "set", company.tenant, "--recordings-days", "30")  # holds for all there are
    removed(pipeline, new)
    assert pipeline.rows("recordings", old)[0] == before, "removed once"
    sb("company", "set", company.tenant, "--recordings-days", "forever")
    assert Api(another.url, secret).send("GET", f"/api/v1/calls/{new}").json()["data"]["recording"]["removed_at"]


def test_a_replay_says_why_it_cannot_listen_again(pipeline):
    company = pipeline.company(recordings_days=1)
    call_id = pipeline.call(company, BOOKED, started_at=just_now())
    transcript = pipeline.row("call_transcripts", call_id)
    grow_old(pipeline, 2, call_id)
    removed(pipeline, call_id)
    assert again(pipeline, call_id, 1)["outcome"] == "done", "the recorded answers are there"
    listened = again(pipeline, call_id, 2, askagain=True)
    assert listened["outcome"] == "rejected" and "retention time" in listened["why"]
    assert pipeline.rows("call_transcripts", call_id)[0]["text"] == transcript["text"]
    assert pipeline.rows("recordings", call_id)[0]["removed_at"] and pipeline.rows("recordings", call_id)[0]["path"] not in objects(pipeline)


def test_a_removal_that_was_done_by_half_is_done_to_its_end(pipeline):
    """The bucket is away; then it has removed the recording and its answer was lost."""
    company = pipeline.company(recordings_days=1)
    call_id = pipeline.call(company, COLD, started_at=just_now())
    path = pipeline.row("recordings", call_id)["path"]
    pipeline.sandbox.fault(provider="s3", method="DELETE", what="status", status=503, count=1)
    pipeline.sandbox.fault(provider="s3", method="DELETE", what="cut", when="after", count=1)
    grow_old(pipeline, 2, call_id)
    removed(pipeline, call_id)
    assert path not in objects(pipeline)
    assert len(pipeline.asked("s3", method="DELETE")) >= 3


def test_what_comes_late_goes_with_the_others(pipeline):
    """A call of a week ago of which CallRail tells today: the time counts from the call."""
    company = pipeline.company(recordings_days=7)
    week_old = (datetime.now(timezone.utc) - timedelta(days=7, minutes=1)).isoformat()
    late, new = pipeline.call(company, BOOKED, started_at=week_old), pipeline.call(company, BOOKED, started_at=just_now())
    removed(pipeline, late)
    assert "leaking" in pipeline.row("call_transcripts", late)["text"], "it was listened to"
    assert pipeline.row("recordings", new)["removed_at"] is None


def test_a_day_is_the_least(pipeline, sb):
    company = pipeline.company()
    for days in ("0", "-1", "36501", "a week", "1.5", ""):
        sb("company", "set", company.tenant, "--recordings-days", days, code=2)
    with pytest.raises(Exception, match="recordings_days"):
        pipeline.database.execute("UPDATE companies SET recordings_days = 0 WHERE tenant = %s", [company.tenant])
    set = json.loads(sb("company", "set", company.tenant, "--recordings-days", "1", "--json").stdout)
    assert set["recordings_days"] == 1
    assert json.loads(sb("company", "set", company.tenant, "--name", "Another", "--json").stdout)["recordings_days"] == 1
    assert json.loads(sb("company", "set", company.tenant, "--recordings-days", "forever", "--json").stdout)["recordings_days"] is None
    added = "acme-" + uuid.uuid4().hex[:8]
    assert json.loads(sb("company", "add", added, "--name", "Acme", "--recordings-days", "7", "--json").stdout)["recordings_days"] == 7
    command = "SELECT detail -> 'after' ->> 'recordings_days' AS days FROM operator_actions WHERE what = %s ORDER BY at"
    assert [row["days"] for row in pipeline.database.execute(command, [company.tenant])] == ["1", "1", None]


def test_in_a_folder_they_end_too(pipeline):
    """And what is not in the folder is gone, but not when the folder itself is away."""
    pipeline.use("transcribe", RECORDINGS_S3_BUCKET="", RECORDINGS_S3_URL="")
    try:
        company = pipeline.company(recordings_days=1)
        kept, missing = pipeline.call(company, BOOKED, started_at=just_now()), pipeline.call(company, COLD, started_at=just_now())
        folder = pipeline.folder / "recordings"
        paths = [folder / pipeline.row("recordings", call_id)["path"] for call_id in (kept, missing)]
        assert all(path.is_file() for path in paths)
        paths[1].unlink()
        folder.rename(folder.with_name("elsewhere"))
        for call_id in (kept, missing):
            grow_old(pipeline, 2, call_id)
        transcribe = pipeline.daemons["transcribe"]
        wait_until(lambda: transcribe.metric("asks_total", provider="recordings", outcome="retry") > 0, "a try without the folder")
        assert pipeline.rows("recordings", kept)[0]["removed_at"] is None
        folder.with_name("elsewhere").rename(folder)
        removed(pipeline, kept), removed(pipeline, missing)
        assert not paths[0].exists()
    finally:
        pipeline.use("transcribe", **in_bucket(pipeline.sandbox.url))


def test_the_documents_answers_are_those_given():
    for path in ("/api/v1/calls/{id}/recording", "/api/v1/recordings/sessions/{id}/recording"):
        assert {"200", "206", "404", "410", "416", "503"} <= set(OPENAPI["paths"][path]["get"]["responses"])
