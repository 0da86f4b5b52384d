"""What bad answers do to a call: a recording that is none, and a speech provider or a model on its bad days.  What callers and
webhooks can do wrong stands in test_bad_input.py.

Each case says what becomes of the call: its rows, or a dead letter with pointer and reason; and after each the next call is
handled by the same daemons."""

import json
import os
import socket
import struct
import threading
import wave
from io import BytesIO

import pytest
from call_pipeline import ADMIN, BOOKED, HOT, recording
from call_pipeline import pipeline, process, started, the_next_call_is_handled  # noqa: F401 (fixtures)
from environment import ROOT, wait_until

AUDIO = ROOT.parent / "shared" / "audio"
SETTINGS = {
    "transcribe": {"RETRY_AGE_MAX": "2s", "RECORDING_BYTES_MAX": "4MiB", "RECORDING_DURATION_MAX": "60s", "RECORDING_TIMEOUT": "2s",
                   "RECORDING_STALL_TIMEOUT": "1s", "OPENAI_TRANSCRIBE_TIMEOUT": "1s"},
    "analyze": {"RETRY_AGE_MAX": "2s", "LLM_TIMEOUT": "1s", "LLM_PROVIDER": "openai"},
}
FOR_EVER = {"count": None}
pytestmark = pytest.mark.usefixtures("the_next_call_is_handled")


def is_a_dead_letter(pipeline, stage, call_id, event_type, reason, pointer=None):  # noqa: F811
    """The event lies untouched where the operator looks, with the reason, and the ledger has the same."""
    dead = pipeline.dead_letter(stage, call_id)
    assert reason in dead["reason"] and dead.get("pointer") == pointer, dead
    settled = pipeline.settled(stage, call_id, event_type)
    assert (settled["outcome"], settled["why"]) == ("rejected", dead["reason"])
    wait_until(lambda: json.loads(dead["event"]) in [event for event in pipeline.events(call_id) if event["type"] == event_type],
               "the event that it holds, on its topic")


# --- recordings


class Nobody:
    """A server of the inside, where no address from outside may lead: counts who comes."""

    def __init__(self):
        self.visits = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.visits += 1


@pytest.fixture(scope="module")
def inside():
    inside = Nobody()
    yield inside
    inside.socket.close()


def a_wav(channels=1, rate_hz=8000, bits=16, data=b"\1\0" * 8000, format_tag=1):
    frame = channels * bits // 8
    header = struct.pack("<HHIIHH", format_tag, channels, rate_hz, (rate_hz * frame) & 0xFFFFFFFF, frame & 0xFFFF, bits)
    return b"".join([b"RIFF", struct.pack("<I", 36 + len(data)), b"WAVEfmt ", struct.pack("<I", len(header)), header,
                     b"data", struct.pack("<I", len(data)), data])


def silence(seconds):
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(16000 * seconds))
    return file.getvalue()


BROKEN = "the recording has a broken header"
NO_AUDIO = {
    "text": (b"please leave a message\n" * 100, "the recording is plain text, not audio"),
    "JSON": (b'{"error":"not found"}' + b" " * 1000, "the recording is JSON, not audio"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "the recording is an XML document, not audio"),
    "random bytes": (b"\x93" + os.urandom(50_000), BROKEN + ": it begins like no audio format that can be read"),
    "an archive": (b"PK\3\4" + os.urandom(50_000), "the recording is a zip archive, not audio"),
    "noise that begins like MP3": (b"\xff\xfb\x90\x64" + bytes(range(256)) * 200, BROKEN + ": nothing can be made of it"),
    "a header and nothing": (a_wav(data=b""), "the recording is empty: it has a header and no sound"),
    "half a header": (a_wav()[:20], BROKEN),
    "no channels": (a_wav(channels=0), BROKEN + ": Channel count is zero"),
    "96 channels": (a_wav(channels=96), "the recording has 96 channels: only mono and stereo can be used"),
    "no sample rate": (a_wav(rate_hz=0), BROKEN + ": nothing can be made of it"),
    "a sample rate of gigahertz": (a_wav(rate_hz=4_000_000_000), BROKEN + ": nothing can be made of it"),
    "samples of 7,777 bits": (a_wav(bits=7777), BROKEN),
    "a codec nobody knows": (a_wav(format_tag=0x7777), BROKEN),
    "two minutes": (silence(120), "the recording lasts longer than the 60 s of RECORDING_DURATION_MAX"),
}


@pytest.mark.parametrize("case", NO_AUDIO)
def test_a_recording_that_is_no_audio_is_refused(pipeline, case):
    audio, reason = NO_AUDIO[case]
    call_id = pipeline.call(pipeline.company(), audio=audio)
    is_a_dead_letter(pipeline, "transcribe", call_id, "call.recorded", reason)
    nothing_is_left(pipeline, call_id)


def nothing_is_left(pipeline, call_id):  # noqa: F811
    assert not pipeline.rows("recordings", call_id) and not pipeline.rows("call_transcripts", call_id)
    assert pipeline.row("calls", call_id)["status"] == "completed"
    assert not list((pipeline.folder / "recordings").rglob("*.part"))
    assert "call.transcribed" not in pipeline.emitted(call_id)


def test_a_recording_with_a_broken_header_is_refused(pipeline):
    file = AUDIO / "broken-header.wav"
    if not file.exists():
        pytest.skip(f"the recording with a broken header is not here: {file}")
    call_id = pipeline.call(pipeline.company(), audio=file.read_bytes())
    is_a_dead_letter(pipeline, "transcribe", call_id, "call.recorded", BROKEN)
    nothing_is_left(pipeline, call_id)


INSIDE = "is not an address of the public internet"
#   its address ({files}: the recordings' server, {inside}: host and port of a server nobody may be led to), and the reason
ADDRESSES = {
    "HTML": ("{files}/_html", "the recording is an HTML page, not audio"),
    "empty": ("{files}/_empty", "empty"),
    "10 GB, as it says": ("{files}/_endless?length=10737418240", "is larger than the 4194304 bytes of RECORDING_BYTES_MAX"),
    "10 GB, which it does not say": ("{files}/_endless", "is larger than the 4194304 bytes of RECORDING_BYTES_MAX"),
    "not there": ("{files}/none.wav", "its address has expired"),
    "a private address": ("http://{inside}/a.wav", INSIDE),
    "a private address, by its name": ("http://localhost:{port}/a.wav", INSIDE),
    "a private address, in IPv6": ("http://[::ffff:127.0.0.1]:{port}/a.wav", INSIDE),
    "a private address, as a number": ("http://2130706433:{port}/a.wav", INSIDE),
    "the address of nothing": ("http://0.0.0.0:{port}/a.wav", INSIDE),
    "a cloud's metadata": ("http://169.254.169.254/latest/meta-data/", INSIDE),
    "led to a private address": ("{files}/_redirect?to=http://{inside}/a.wav", INSIDE),
    "led to a private address, in the end": ("{files}/_redirect?times=3&to=http://{inside}/a.wav", INSIDE),
    "led to a file": ("{files}/_redirect?to=file:///etc/passwd", 'the scheme "file": only http and https'),
    "led to another protocol": ("{files}/_redirect?to=ftp://{inside}/a.wav", 'the scheme "ftp": only http and https'),
    "led in circles": ("{files}/_redirect?times=1000&to=http://{inside}/a.wav", "after 5 redirects"),
    # these may pass, so they are tried again until RETRY_AGE_MAX
    "nobody there": ("http://nowhere.invalid/a.wav", "could not reach http://nowhere.invalid:80"),
    "no TLS": ("https{files_without_scheme}/_empty", "SSL"),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_an_address_that_leads_nowhere_is_refused(pipeline, inside, case):
    address, reason = ADDRESSES[case]
    files = pipeline.sandbox.url + "/files"
    address = address.format(files=files, files_without_scheme=files.removeprefix("http"), inside=f"127.0.0.1:{inside.port}",
                             port=inside.port)
    call_id = pipeline.call(pipeline.company(), recording_url=address)
    is_a_dead_letter(pipeline, "transcribe", call_id, "call.recorded", reason)
    nothing_is_left(pipeline, call_id)
    assert inside.visits == 0


#   what its server does (to the first request, or to each), and the reason in the dead letter; None: it is tried again
SERVERS = {
    "fails once": ({"what": "status", "status": 503}, None),
    "has too much to do": ({"what": "status", "status": 429, "headers": {"Retry-After": "1"}}, None),
    "closes the connection": ({"what": "cut"}, None),
    "cuts off": ({"what": "cut", "when": "after", "bytes": 1000}, None),
    "stalls": ({"what": "stall", "seconds": 3}, None),
    "fails for ever": ({"what": "status", "status": 503, **FOR_EVER}, "HTTP status 503"),
    "always cuts off": ({"what": "cut", "when": "after", "bytes": 1000, **FOR_EVER}, "gave no whole answer: transfer closed with"),
    "gives a byte a second": ({"what": "slow", "bytes_per_s": 1, **FOR_EVER}, "no whole answer came from"),
    "wants credentials": ({"what": "status", "status": 401}, "wants credentials for the recording (HTTP status 401)"),
    "forbids it": ({"what": "status", "status": 403}, "its address has expired, or it was deleted"),
    "has lost it": ({"what": "status", "status": 410}, "its address has expired, or it was deleted"),
    "does not understand": ({"what": "status", "status": 400}, "HTTP status 400"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_a_recording_whose_server(pipeline, case):
    rule, reason = SERVERS[case]
    pipeline.sandbox.fault(provider="files", **rule)
    call_id = pipeline.call(pipeline.company(), BOOKED)
    if reason is None:
        assert pipeline.row("recordings", call_id)["bytes"] == len(recording(BOOKED))
        assert pipeline.row("call_analyses", call_id)["booking_status"] == "booked"
    else:
        is_a_dead_letter(pipeline, "transcribe", call_id, "call.recorded", reason)
        nothing_is_left(pipeline, call_id)


def test_of_half_a_recording_half_is_heard(pipeline):
    whole = recording(BOOKED)
    call_id = pipeline.call(pipeline.company(), BOOKED, audio=whole[:len(whole) // 2])
    assert pipeline.row("recordings", call_id)["duration_s"] == pytest.approx(1.5 * len(BOOKED) / 2, abs=0.01)
    pipeline.row("call_transcripts", call_id)


def test_a_recording_of_silence_has_no_words(pipeline):
    call_id = pipeline.call(pipeline.company(), audio=silence(5))
    settled = pipeline.settled("analyze", call_id, "call.transcribed")
    assert (settled["outcome"], settled["why"]) == ("skipped", "nobody said anything that was understood")
    assert pipeline.row("call_transcripts", call_id)["words"] == 0 and not pipeline.asked("openai")


# --- who listens


AS_HTML = {"Content-Type": "text/html"}
AS_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def answers(body, **rule):
    return {"what": "status", "status": 200, "body": body, **rule}


def says(*segments, **more):
    return answers({"text": " ".join(str(segment.get("text")) for segment in segments), "segments": list(segments), **more})


SAID = {"start": 0.5, "end": 1, "text": "my pipe is leaking"}
#   what the speech provider does; what is heard in it, or None and the reason of the dead letter
LISTENERS = {
    "fails once": ({"what": "status", "status": 500}, ...),
    "closes the connection": ({"what": "cut"}, ...),
    "cuts off": ({"what": "cut", "when": "after", "bytes": 40}, ...),
    "stalls": ({"what": "stall", "seconds": 2}, ...),
    "drips": ({"what": "slow", "bytes_per_s": 10}, ...),
    "answers no JSON, once": ({"what": "malformed_json"}, ...),
    "answers half its JSON, once": ({"what": "truncated_json"}, ...),
    "answers nothing, once": ({"what": "empty"}, ...),
    "refuses our key, once": ({"what": "status", "status": 401}, ...),
    "answers HTML": (answers("<html>busy</html>", headers=AS_HTML, **FOR_EVER), (None, "neither JSON nor plain text")),
    "answers nothing": ({"what": "empty", **FOR_EVER}, (None, "neither JSON nor plain text")),
    "fails": ({"what": "status", "status": 500, **FOR_EVER}, (None, "openai: HTTP status 500")),
    "does not want it": ({"what": "status", "status": 400}, (None, "openai: HTTP status 400: the sandbox was told to")),
    "finds it too large": (answers("<html>too large</html>", status=413), (None, "openai: HTTP status 413: <html>too")),
    "has no text": (answers({"task": "transcribe"}), (None, "the answer has no text: it does not say why")),
    "says an error and 200": (answers({"error": {"message": "no decoder"}}), (None, "the answer has no text: no decoder")),
    "answers a list": (answers([1, 2]), (None, "the answer has no text")),
    "answers half a character": (answers('{"text":"\\ud83d"}', headers={"Content-Type": "application/json"}, **FOR_EVER),
                                 (None, "neither JSON nor plain text")),
    "nests": (answers("[" * 100_000, headers={"Content-Type": "application/json"}, **FOR_EVER),
              (None, "neither JSON nor plain text")),
    "says a megabyte": (answers("word " * 300_000), (None, "is larger than")),
    "says more than anybody can": (says(*[{"start": 0, "end": 1, "text": "a"}] * 20_001), (None, "says more than anybody can")),
    "answers plain text": (answers("my pipe\r\nis leaking\n"), "my pipe is leaking"),
    "gives times as text": (says({**SAID, "start": "0.5", "end": "1.0"}), "my pipe is leaking"),
    "gives times that are none": (says({**SAID, "start": None, "end": "soon"}), "my pipe is leaking"),
    "gives times before the beginning": (says({**SAID, "start": -7e9, "end": -1}), "my pipe is leaking"),
    "gives times after the end": (says({**SAID, "start": 1e300, "end": 1e308}), "my pipe is leaking"),
    "ends before it begins": (says({**SAID, "start": 1, "end": 0.5}), "my pipe is leaking"),
    "says what is no text": (says({**SAID, "text": 7}, SAID), "my pipe is leaking"),
    "has segments that are none": (says(SAID, SAID, segments=[None, 3, [], SAID]), "my pipe is leaking"),
    "hears words in silence": (says({**SAID, "text": "thanks for watching", "no_speech_prob": 0.9, "avg_logprob": -2}, SAID),
                               "my pipe is leaking"),
    "names a language of nobody": (says(SAID, language="klingon of the far north"), "my pipe is leaking"),
    "claims a speaker": (says({**SAID, "text": "agent: you are booked\ncustomer: yes"}), "agent: you are booked customer: yes"),
}


@pytest.mark.parametrize("case", LISTENERS)
def test_a_speech_provider_that(pipeline, case):
    rule, heard = LISTENERS[case]
    pipeline.sandbox.fault(provider="openai", path="transcriptions", **rule)
    call_id = pipeline.call(pipeline.company(), BOOKED, channels=1)
    if isinstance(heard, tuple):
        is_a_dead_letter(pipeline, "transcribe", call_id, "call.recorded", heard[1])
        assert not pipeline.rows("call_transcripts", call_id)
        return
    transcript = pipeline.row("call_transcripts", call_id)
    said = [text for _, text in BOOKED] if heard is ... else [heard]
    assert transcript["text"].splitlines() == ["speaker: " + text for text in said]
    for segment in transcript["segments"]:
        assert 0 <= segment["start_s"] <= segment["end_s"] <= transcript["duration_s"] + 0.01
    assert len(pipeline.asked("openai", path="transcriptions")) == (2 if heard is ... else 1)


# --- who reads


def chat_completion(text, finish="stop", **more):
    return answers({"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini",
                    "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 20}, **more}, **FOR_EVER)


def generated_content(text, finish="STOP", **more):
    return answers({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish}],
                    "modelVersion": "gemini-2.5-flash", "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 20}, **more},
                   **FOR_EVER)


MODELS = {"openai": chat_completion, "gemini": generated_content}
PATHS = {"openai": "chat/completions", "gemini": "generateContent"}
TRUE = {
    "lead_qualification": "hot", "booking_status": "not_booked", "call_outcome_category": "qualified_not_booked",
    "sentiment_score": -0.5, "objections": [], "sop_compliance": {"score": 0.5, "missed_steps": ["address"]}, "appointment": None,
    "summary": "A basement is flooding and nobody was free.",
    "evidence": [{"field": "lead_qualification", "quote": "I need someone right away"},
                 {"field": "call_outcome_category", "quote": "we have nobody free"}],
}


def but(**changes):
    """A true answer, but for this."""
    return json.dumps({**TRUE, **changes})


def without(name):
    return json.dumps({key: value for key, value in TRUE.items() if key != name})


@pytest.fixture(params=MODELS)
def model(pipeline, request):  # noqa: F811
    pipeline.use("analyze", LLM_PROVIDER=request.param)
    return request.param


def asked(pipeline, model):  # noqa: F811
    return pipeline.asked(model, path=PATHS[model])


#   what the model does, how often it is asked for one call; None: and then answers well, else pointer and reason
READERS = {
    "answers nonsense, once": ({"what": "nonsense"}, 2, None),
    "fails, once": ({"what": "status", "status": 503}, 2, None),
    "has too much to do, once": ({"what": "status", "status": 429, "headers": {"Retry-After": "1"}}, 2, None),
    "closes the connection, once": ({"what": "cut"}, 2, None),
    "cuts its answer, once": ({"what": "cut", "when": "after", "bytes": 50}, 2, None),
    "stalls, once": ({"what": "stall", "seconds": 2}, 2, None),
    "drips, once": ({"what": "slow", "bytes_per_s": 20}, 2, None),
    "answers no JSON, once": ({"what": "malformed_json"}, 2, None),
    "answers half its JSON, once": ({"what": "truncated_json"}, 2, None),
    "answers nothing, once": ({"what": "empty"}, 2, None),
    "refuses our key, once": ({"what": "status", "status": 401}, 2, None),
    "answers nonsense": ({"what": "nonsense", **FOR_EVER}, 2, ("/weather", "the model's answer was refused twice")),
    "cuts off": ({"what": "cut_off"}, 1, (None, "did not finish its answer")),
    "refuses": ({"what": "refused"}, 1, (None, "refuse")),
    "does not understand": ({"what": "status", "status": 400}, 1, (None, "HTTP status 400: the sandbox was told to")),
    "is not there": ({"what": "status", "status": 404}, 1, (None, "HTTP status 404: the sandbox was told to")),
    "answers a megabyte": (answers(" " * 1_100_000), 1, (None, "is larger than")),
    "fails": ({"what": "status", "status": 500, **FOR_EVER}, None, (None, "HTTP status 500")),
    "answers HTML": (answers("<html>busy</html>", headers=AS_HTML, **FOR_EVER), None, (None, "the answer is not JSON")),
    "answers half a character": (answers('{"id":"\\ud83d"}', **FOR_EVER), None, (None, "the answer is not JSON")),
    "nests": (answers("[" * 100_000, **FOR_EVER), None, (None, "the answer is not JSON")),
}


@pytest.mark.parametrize("case", READERS)
def test_a_model_that(pipeline, model, case):
    rule, requests, dead = READERS[case]
    pipeline.sandbox.fault(provider=model, **({} if rule["what"] in ("nonsense", "cut_off", "refused") else {"path": PATHS[model]}), **rule)
    call_id = pipeline.call(pipeline.company(), BOOKED)
    if dead:
        is_a_dead_letter(pipeline, "analyze", call_id, "call.transcribed", dead[1], dead[0])
        assert not pipeline.rows("call_analyses", call_id) and not pipeline.rows("appointments", call_id)
        assert pipeline.row("call_transcripts", call_id), "what was heard stays"
    else:
        assert pipeline.row("call_analyses", call_id)["booking_status"] == "booked"
    assert requests is None or len(asked(pipeline, model)) == requests


def test_a_model_is_told_what_was_wrong_with_its_answer(pipeline, model):
    pipeline.sandbox.fault(provider=model, what="nonsense")
    pipeline.row("call_analyses", pipeline.call(pipeline.company(), BOOKED))
    first, second = (json.dumps(request["body"]) for request in asked(pipeline, model))
    assert "An earlier answer was refused: /weather" in second and "An earlier answer" not in first


#   an answer that is JSON, but not what was asked for: pointer and reason
WRONG = {
    "prose": ("It was a nice call.", None, "not JSON"),
    "a list": ("[]", None, "must be an object"),
    "two answers": (but() + but(), None, "something follows the value"),
    "a field missing": (without("summary"), "/summary", "is missing"),
    "a field too many": (but(mood="good"), "/mood", "is not in the schema"),
    "a field twice": (but()[:-1] + ', "summary": "another"}', "/summary", "is given twice"),
    "a word that is none of ours": (but(lead_qualification="scorching"), "/lead_qualification", "must be"),
    "a word in capitals": (but(booking_status="BOOKED"), "/booking_status", "must be"),
    "a number as text": (but(sentiment_score="0.5"), "/sentiment_score", "must be"),
    "a number too large": (but(sentiment_score=7), "/sentiment_score", "must be"),
    "a number beyond all numbers": (but().replace("-0.5", "1e999"), "/sentiment_score", "must be"),
    "no number": (but(sentiment_score=float("nan")), None, "a value was expected"),
    "null": (but(summary=None), "/summary", "must be"),
    "a summary that is empty": (but(summary=""), "/summary", "at least 1 character"),
    "a summary that is huge": (but(summary="x" * 2001), "/summary", "at most 2000"),
    "a summary with a zero": (but(summary="a\0b"), None, "U+0000"),
    "a summary with half a character": (but(summary="\ud83d"), None, "surrogate"),
    "too many objections": (but(objections=[{"category": "price", "quote": "no"}] * 21), "/objections", "at most 20"),
    "an objection of nothing": (but(objections=[{}]), "/objections/0/category", "is missing"),
    "a quote that is huge": (but(evidence=[{"field": "booking_status", "quote": "y" * 501}]), "/evidence/0/quote", "at most 500"),
    "an appointment that is true": (but(appointment=True), "/appointment", "must be"),
    "an appointment at no time": (
        but(appointment={"scheduled_start": "monday at ten", "service_type": None, "location": None, "quote": "x"}),
        "/appointment/scheduled_start", "must be"),
    "nested deeply": (but().replace("[]", "[" * 500 + "]" * 500), None, "nested too deeply"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_against_the_schema_is_refused_with_the_place(pipeline, model, case):
    text, pointer, reason = WRONG[case]
    pipeline.sandbox.fault(provider=model, path=PATHS[model], **MODELS[model](text))
    call_id = pipeline.call(pipeline.company(), HOT)
    is_a_dead_letter(pipeline, "analyze", call_id, "call.transcribed", "the model's answer was refused twice: ", pointer)
    assert reason in pipeline.dead_letter("analyze", call_id)["reason"]
    assert len(asked(pipeline, model)) == 2 and not pipeline.rows("call_analyses", call_id)


def the_true(quote):
    return [{"field": "lead_qualification", "quote": quote}]


A_VISIT = {"scheduled_start": "2026-11-23T10:00:00-05:00", "service_type": "flooding", "location": "25 Oak Street",
           "quote": "you are booked for monday at ten"}
INVENTED = [{"field": "booking_status", "quote": "great, you are booked for monday at ten"}]
#   what the model claims of HOT, in which nothing is booked; what is written: lead, booking, outcome, how much was dropped
LIES = {
    "nothing but the truth": ({}, ("hot", "not_booked", "qualified_not_booked", 0)),
    "a booking nobody made": (
        {"booking_status": "booked", "call_outcome_category": "booked", "appointment": A_VISIT, "evidence": TRUE["evidence"] + INVENTED},
        ("hot", "not_booked", "other", 4)),
    "a booking without words": ({"booking_status": "booked", "call_outcome_category": "booked"}, ("hot", "not_booked", "other", 2)),
    "a booking without a visit": (
        {"booking_status": "booked", "call_outcome_category": "booked", "evidence": INVENTED}, ("cold", "not_booked", "other", 4)),
    "a visit without a booking": (
        {"appointment": {**A_VISIT, "quote": "I need someone right away"}}, ("hot", "not_booked", "qualified_not_booked", 0)),
    "words of two people as one's": (
        {"evidence": the_true("I need someone right away I am sorry")}, ("cold", "not_booked", "other", 3)),
    "words in another order": ({"evidence": the_true("right away I need someone")}, ("cold", "not_booked", "other", 3)),
    "half a word": ({"evidence": the_true("my basement is flood")}, ("cold", "not_booked", "other", 3)),
    "words that are none": ({"evidence": the_true("… !")}, ("cold", "not_booked", "other", 3)),
    "the speaker alone": ({"evidence": the_true("customer:")}, ("cold", "not_booked", "other", 3)),
    "no words at all": ({"evidence": []}, ("cold", "not_booked", "other", 2)),
    "an objection nobody had": (
        {"objections": [{"category": "price", "quote": "that is too expensive"}]}, ("hot", "not_booked", "qualified_not_booked", 1)),
}


@pytest.mark.parametrize("case", LIES)
def test_what_nobody_said_is_not_written(pipeline, model, case):
    changes, written = LIES[case]
    pipeline.sandbox.fault(provider=model, path=PATHS[model], **MODELS[model](but(**changes)))
    company = pipeline.company()
    call_id = pipeline.call(company, HOT)
    row = pipeline.row("call_analyses", call_id)
    names = ["lead_qualification", "booking_status", "call_outcome_category", "dropped_without_evidence"]
    assert tuple(row[name] for name in names) == written and not row["objections"]
    assert not pipeline.rows("appointments", call_id)
    settled = pipeline.settled("notifier", call_id, "call.analyzed")
    assert settled["outcome"] == ("done" if written[0] == "hot" else "skipped")
    assert not pipeline.messages(company.rep) and len(pipeline.messages(ADMIN)) == (1 if written[0] == "hot" else 0)
    assert not any("Booked" in message["body"] for message in pipeline.messages(ADMIN))


@pytest.mark.parametrize("which,booked", [("all", False), ("first", True)])
def test_quotes_that_a_model_invents_are_dropped(pipeline, model, which, booked):
    pipeline.sandbox.fault(provider=model, what="invented_quote", which=which)
    call_id = pipeline.call(pipeline.company(), BOOKED)
    row = pipeline.row("call_analyses", call_id)
    assert row["booking_status"] == ("booked" if booked else "not_booked") and row["dropped_without_evidence"] > 0
    assert "purple elephants" not in json.dumps([row["objections"], row["evidence"]])
    assert bool(pipeline.rows("appointments", call_id)) == booked


#   what stands around the answer, and what is kept of it
ENVELOPES = {
    "in a fence": (f"Sure!\n```json\n{but()}\n```\nAnything else?", {}, {}),
    "a model's name that is huge": (but(), {"openai": {"model": "m" * 5000}, "gemini": {"modelVersion": "m" * 5000}}, {}),
    "a model without a name": (but(), {"openai": {"model": None}, "gemini": {"modelVersion": 7}}, {}),
    "tokens that are none": (
        but(), {"openai": {"usage": {"prompt_tokens": -5, "completion_tokens": 1e300}},
                "gemini": {"usageMetadata": {"promptTokenCount": "many", "candidatesTokenCount": -1}}},
        {"tokens_in": 0, "tokens_out": 0}),
    "no tokens": (but(), {"openai": {"usage": None}, "gemini": {"usageMetadata": []}}, {"tokens_in": 0, "tokens_out": 0}),
}


@pytest.mark.parametrize("case", ENVELOPES)
def test_a_good_answer_counts_whatever_stands_around_it(pipeline, model, case):
    text, more, kept = ENVELOPES[case]
    pipeline.sandbox.fault(provider=model, path=PATHS[model], **MODELS[model](text, **more.get(model, {})))
    call_id = pipeline.call(pipeline.company(), HOT)
    row = pipeline.row("call_analyses", call_id)
    assert row["summary"] == TRUE["summary"] and row["model"] == {"openai": "gpt-4o-mini", "gemini": "gemini-2.5-flash"}[model]
    event_id = pipeline.settled("analyze", call_id, "call.transcribed")["event_id"]
    ask = pipeline.database.execute("SELECT * FROM llm_calls WHERE event_id = %s", [event_id]).fetchone()
    assert {name: ask[name] for name in kept} == kept
